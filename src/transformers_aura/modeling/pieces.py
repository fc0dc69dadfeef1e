"""A long recording is cut into pieces that are transcribed one by one: in its longest pauses."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from .ctc_forward import BLANK
from .ctc_heads import STEPS_PER_TOKEN, CharacterCTCHead
from .prompts import PromptBatch, PromptReader, replace_last
from .spelling import GAP


if TYPE_CHECKING:
    from .modeling_aura import AuraModel


LONGEST_WHOLE = 1.5
"""A recording is cut if it is longer than so many of the longest pieces: no cut is the best where nobody pauses."""

SHORTEST_PIECE = 0.2
"""The shortest piece of a recording that is cut, to the longest."""


class PieceCutter:
    """Cuts the last clips of prompts that ask for transcripts, and joins what is written of their pieces.

    Args:
        model: of the student.
        character_ctc_head: of the model; it hears where nothing is said.
        tokenizer: of the LLM.
    """

    def __init__(
        self, model: AuraModel, character_ctc_head: CharacterCTCHead, tokenizer: PreTrainedTokenizerBase
    ) -> None:
        self._model = model
        self._character_ctc_head = character_ctc_head
        self._tokenizer = tokenizer
        self._given = PromptReader(model.config)
        audio = model.config.audio_config
        self._frames_per_token = audio.frames_per_token
        self._longest = round(model.config.transcript_piece_seconds * audio.tokens_per_second)

    def is_cut(self, spoken: PromptBatch) -> bool:
        """Whether the last clip of any of these prompts is transcribed in pieces."""
        return any(len(self._given.last_clip(row)) > LONGEST_WHOLE * self._longest for row in spoken.rows)

    @torch.no_grad()
    def cut(self, spoken: PromptBatch) -> list[PromptBatch]:
        """Of each prompt one or several that each ask for the transcript of a piece of its last clip."""
        each = [spoken.select([index]) for index in range(len(spoken.rows))]
        return [self._cut(one) if self.is_cut(one) else one for one in each]

    def _cut(self, spoken: PromptBatch) -> PromptBatch:
        (row,), (features,), (mask,) = spoken.rows, spoken.features, spoken.masks
        embeddings = self._model.get_audio_features(features[-1:], mask[-1:]).pooler_output
        letters = self._character_ctc_head.log_probabilities(embeddings).cpu().numpy()
        longest = self._longest * STEPS_PER_TOKEN
        steps = cuts_at_pauses(is_pause(letters), round(SHORTEST_PIECE * longest), longest)
        edges = [0, *(step // STEPS_PER_TOKEN for step in steps), len(self._given.last_clip(row))]
        pieces = PromptBatch([], [], [])
        for first, end in itertools.pairwise(edges):
            frames = slice(first * self._frames_per_token, end * self._frames_per_token)
            pieces.rows.append(self._given.last_clip_as(row, end - first))
            pieces.features.append(replace_last(features, features[-1:, frames]))
            pieces.masks.append(replace_last(mask, mask[-1:, frames]))
        return pieces

    def join(self, texts: list[torch.Tensor]) -> torch.Tensor:
        """Token ids of the pieces' texts as one; those of a single text stay as they are."""
        if len(texts) == 1:
            return texts[0]
        words = " ".join(filter(None, (self._tokenizer.decode(text).strip() for text in texts)))
        return texts[0].new_tensor(self._tokenizer(words, add_special_tokens=False).input_ids)


def is_pause(letters: np.ndarray) -> np.ndarray:
    """Of each step, whether no letter is the likeliest there.

    Args:
        letters: log-probabilities of the blank and every letter, `(steps, 1 + letters)`.
    """
    likeliest = letters.argmax(axis=1)
    return (likeliest == BLANK) | (likeliest == GAP)


def cuts_at_pauses(pause: np.ndarray, shortest: int, longest: int) -> list[int]:
    """Steps at which a recording is cut, in the middle of pauses, so that its pieces are at most `longest`.

    Of the pauses that lie where the next piece may end, the longest is taken; where nobody pauses, the piece ends at the last such step.

    Args:
        pause: of each step, whether nothing is said there.
        shortest, longest: steps of a piece; `2 * shortest` may not be more than `longest`.
    """
    cuts: list[int] = []
    start = 0
    while len(pause) - start > longest:
        first, end = start + shortest, min(start + longest, len(pause) - shortest)
        edges = np.flatnonzero(np.diff(np.concatenate([[0], pause[first:end].astype(np.int8), [0]])))
        begins, ends = edges[::2], edges[1::2]
        if len(begins):
            # Of pauses of one length, the last.
            place = len(begins) - 1 - int((ends - begins)[::-1].argmax())
            start = first + int(begins[place] + ends[place]) // 2
        else:
            start = end
        cuts.append(start)
    return cuts
