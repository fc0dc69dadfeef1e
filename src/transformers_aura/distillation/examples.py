"""Training rows as the collator reads them: the audio, what is asked, what should be answered, and as which tokens."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import torch
from transformers import BatchFeature

from ..processing.conversation import Conversation
from ..processing.processing_aura import AuraProcessor


ROW_KEYS = ("audio", "transcript", "question", "answer")
AUGMENTATION_SEED_KEY = "augmentation_seed"
"""Optional integer of a row that fixes its random gain and context; [`AuraTrainer`] sets it from seed, epoch and row number."""

ROW_NUMBER_KEY = "row_number"
"""Optional integer of a row: its place in the dataset; an evaluation sets it, so that answers come back in that order."""

IGNORED_LABEL = -100
"""Label of a token that is not learnt."""


@dataclass
class Example:
    """One row, read.

    Attributes:
        row: as it was given.
        waveform (`np.ndarray` of shape `(samples,)`, *optional*): the clean clip, float32, 16 kHz; `None` for a text-only row.
        chat: what the student is asked, with the clip as the student gets it.
        answer: what it should answer, if the row says so.
        prompt, completion: both as token ids.
    """

    row: Mapping[str, Any]
    waveform: np.ndarray | None
    chat: Conversation
    answer: str | None
    prompt: list[int] = field(default_factory=list)
    completion: list[int] = field(default_factory=list)

    @property
    def transcript(self) -> str | None:
        """The gold transcript of the clip, if there are both."""
        return None if self.waveform is None else self.row.get("transcript") or None


@dataclass(frozen=True)
class ExampleBatch:
    """The rows of one batch, read: what a [`ColumnMaker`] makes its columns from.

    Args:
        examples: the rows, in the order of the batch.
        processor: of the student.
        pad_to_multiple_of: sequences are padded to a multiple of this.
    """

    examples: Sequence[Example]
    processor: AuraProcessor
    pad_to_multiple_of: int = 1

    def pad(self, prompts: Sequence[list[int]], completions: Sequence[list[int]]) -> dict[str, torch.Tensor]:
        """`input_ids`, `attention_mask` and `labels`, `(rows, sequence)`, right padded; labels are the completions alone."""
        longest = max((len(p) + len(c) for p, c in zip(prompts, completions, strict=True)), default=0)
        longest += -longest % self.pad_to_multiple_of
        shape = (len(prompts), longest)
        input_ids = torch.full(shape, self.processor.tokenizer.pad_token_id, dtype=torch.long)
        attention_mask = torch.zeros(shape, dtype=torch.long)
        labels = torch.full(shape, IGNORED_LABEL, dtype=torch.long)
        for row, (prompt, completion) in enumerate(zip(prompts, completions, strict=True)):
            length = len(prompt) + len(completion)
            input_ids[row, :length] = torch.tensor([*prompt, *completion])
            attention_mask[row, :length] = 1
            labels[row, len(prompt) : length] = torch.tensor(completion, dtype=torch.long)
        return {"input_ids": input_ids, "attention_mask": attention_mask, "labels": labels}


ColumnMaker: TypeAlias = Callable[[ExampleBatch], dict[str, Any]]
"""Makes further columns of a batch. It goes to the processes of a data loader, so it must be picklable: a function of a module, or a dataclass."""


def tokenize_chats(processor: AuraProcessor, chats: Sequence[Conversation]) -> BatchFeature | dict[str, Any]:
    """What the processor makes of chats up to where the answer begins, not padded: lists of token ids, and the features of all clips."""
    if not chats:
        return {"input_ids": []}
    return processor.apply_chat_template(
        list(chats), tokenize=True, add_generation_prompt=True, return_dict=True, padding=False
    )


def pad_tokens(rows: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Lists of ids as `(rows, longest)`, right padded with 0, and their lengths, `(rows,)`."""
    lengths = torch.tensor([len(row) for row in rows], dtype=torch.long)
    padded = torch.zeros(len(rows), max(map(len, rows), default=0), dtype=torch.long)
    for index, row in enumerate(rows):
        padded[index, : len(row)] = torch.tensor(row, dtype=torch.long)
    return padded, lengths
