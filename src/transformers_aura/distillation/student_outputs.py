"""What one forward pass of the student gives to the objectives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import torch

from ..modeling.ctc_heads import audio_states
from ..modeling.modeling_aura import AuraForSpeechQA
from .examples import IGNORED_LABEL
from .heads import DistillationHeads


Shared = TypeVar("Shared")


@dataclass
class StudentOutputs:
    """One forward pass of the student over one batch. What several objectives need is computed once.

    Attributes:
        student: the student.
        batch: the columns of the batch, see [`AuraDataCollator`]. Use [`of_span`] on those of shape `(rows, sequence)`.
        span: the positions of the sequence that the pass ran over: without a prompt that all rows share, and without what follows the
            audio where nobody needs it.
        hidden_states (`tuple` of `torch.FloatTensor` of shape `(rows, span, hidden)`): one for each depth, if an objective asked for one:
            0 = the input of the first decoder layer, `n` = the output of the first `n`.
        last_hidden_state (`torch.FloatTensor` of shape `(rows, span, hidden)`): what the LLM's head reads.
        base_states (`dict[str, torch.FloatTensor]`, each of shape `(rows, sequence, hidden)`): states of the base LLM, LoRA off and without a gradient, by
            what it read ([`Objective.base_reads`]).
        heads: the distillation heads, if there is a teacher.
        targets (`torch.FloatTensor` of shape `(teacher_layers, audio_tokens, width)`, *optional*): the teacher's states at the audio positions
            of all rows in reading order.
        second_heads, second_targets: the same of the second teacher, if there is one.
        row_multiple: rows that heads compute are padded to a multiple of this (0 = not at all), so that few shapes occur.
    """

    student: AuraForSpeechQA
    batch: Mapping[str, Any]
    span: slice
    hidden_states: tuple[torch.Tensor, ...]
    last_hidden_state: torch.Tensor
    base_states: Mapping[str, torch.Tensor]
    heads: DistillationHeads | None
    targets: torch.Tensor | None
    second_heads: DistillationHeads | None = None
    second_targets: torch.Tensor | None = None
    row_multiple: int = 0
    _shared: dict[Callable, Any] = field(default_factory=dict, repr=False)

    def once(self, compute: Callable[[StudentOutputs], Shared]) -> Shared:
        """`compute(self)`, computed once however many objectives ask for it."""
        if compute not in self._shared:
            self._shared[compute] = compute(self)
        return self._shared[compute]

    def of_span(self, tensor: torch.Tensor) -> torch.Tensor:
        """The part of a tensor of shape `(rows, sequence)` that this pass ran over."""
        return tensor[:, self.span]

    @cached_property
    def is_audio(self) -> torch.Tensor:
        """Audio positions, `(rows, span)`."""
        return self.of_span(self.batch["input_ids"]) == self.student.config.audio_token_id

    @cached_property
    def num_audio_tokens(self) -> torch.Tensor:
        """Audio tokens of each row, `(rows,)`."""
        return self.is_audio.sum(-1)

    def audio_states(self, depth: int) -> torch.Tensor:
        """The states at the audio positions of each row, `(rows, longest clip, hidden)`, right padded with anything."""
        return audio_states(self.hidden_states[depth], self.is_audio)

    @cached_property
    def layer_pairs(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """For each layer pair the student's states after the head, and the teacher's, both `(audio_tokens, width)`.

        Raises:
            ValueError: the clips of the teacher are not those of the batch.
        """
        return self._pairs(self.heads, self.targets)

    @cached_property
    def second_layer_pairs(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """The same with the second teacher."""
        return self._pairs(self.second_heads, self.second_targets)

    def _pairs(
        self, heads: DistillationHeads | None, targets: torch.Tensor | None
    ) -> list[tuple[torch.Tensor, torch.Tensor]]:
        if heads is None or targets is None:
            raise ValueError("There is no teacher in this pass.")
        positions = self.is_audio.flatten().nonzero().squeeze(-1)
        if targets.shape[1] != len(positions):
            raise ValueError(
                f"The teacher gave {targets.shape[1]} audio tokens, the batch holds {len(positions)} audio positions. "
                "Do `waveforms` and `input_features` of the batch belong together?"
            )
        targets = heads.normalize_targets(targets)
        slots = {layer: slot for slot, layer in enumerate(heads.teacher_layers)}
        padded = padded_positions(positions, self.row_multiple)
        states = [
            # hidden_states[0] is the input of the first layer: layer -1 is the patch embedding.
            self.hidden_states[student + 1].flatten(0, 1).index_select(0, padded)
            for student, _ in heads.pairs
        ]
        return [
            (prediction[: len(positions)], targets[slots[teacher]])
            for (_, teacher), prediction in zip(heads.pairs, heads(states), strict=True)
        ]

    @cached_property
    def labels(self) -> torch.Tensor:
        """The labels of the positions that [`labelled_logits`] predict, `(labelled_tokens,)`."""
        labels = self.of_span(self.batch["labels"])
        return labels.flatten().index_select(0, predicting_positions(labels) + 1)

    @cached_property
    def labelled_logits(self) -> torch.Tensor:
        """What the LLM's head says before each labelled token, `(labelled_tokens, vocabulary)`, rows one after the other.

        With a vocabulary of 150,000 the logits of the prompt and of the audio would be most of a step's memory for nothing.
        """
        positions = predicting_positions(self.of_span(self.batch["labels"]))
        padded = padded_positions(positions, self.row_multiple)
        hidden = self.last_hidden_state.flatten(0, 1).index_select(0, padded)
        return self.student.compute_logits(hidden)[: len(positions)]


def padded_positions(positions: torch.Tensor, multiple: int) -> torch.Tensor:
    """`positions` (`(n,)`), their number brought up to a multiple of `multiple` (0 = left alone) by repeating the first."""
    if not multiple or not len(positions):
        return positions
    return torch.cat([positions, positions[:1].expand(-len(positions) % multiple)])


def predicting_positions(labels: torch.Tensor) -> torch.Tensor:
    """Flat indices into `(rows * sequence)` of the positions whose next token is labelled.

    Args:
        labels (`torch.LongTensor` of shape `(rows, sequence)`): -100 = not labelled. The first token of a row is never
            predicted.
    """
    is_labelled = labels.ne(IGNORED_LABEL)
    predicts = torch.zeros_like(is_labelled)
    predicts[:, :-1] = is_labelled[:, 1:]
    return predicts.flatten().nonzero().squeeze(-1)
