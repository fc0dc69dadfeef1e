"""What an objective is: one term of the loss, with all that it needs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch

from ...modeling.modeling_aura import AuraForSpeechQA
from ..examples import ColumnMaker
from ..heads import DistillationHeads
from ..student_outputs import StudentOutputs


class Objective(ABC):
    """One term of the loss.

    [`AuraTrainer`] takes a dict of them. Over an optimisation step, however it is split into micro-batches and processes, the term is
    `weight * sum of loss(...) / sum of count(...)`; it is logged as `NAME_loss`, NAME being its key in that dict. Nothing else needs to know
    it: a new term is a subclass and its weight.

    Args:
        weight: of the term in the sum; 0 = it is measured, not learnt.

    Attributes:
        name: the usual key of the dict.
        needs_teacher: it compares layer pairs with the teacher ([`StudentOutputs.layer_pairs`]).
        needs_text: a row of speech alone teaches it nothing, so it is an error.
        needs_logits: it reads [`StudentOutputs.labelled_logits`]: the pass runs all layers, and steps of `distillation_warmup_steps` leave the
            term out.
        trained_head: which CTC head of the student it trains.
        columns: makers of the columns that it needs in the batch. None makes a column of another.
        depths: depths whose hidden states it reads: 0 = the patch embedding's output, `n` = that of the first `n` decoder layers.
        metrics: names of further figures that it logs, beside its loss.
        has_learnt: whether there was anything to learn from so far, in this run or before it was resumed; the trainer sets it.
    """

    name: ClassVar[str]
    needs_teacher: ClassVar[bool] = False
    needs_text: ClassVar[bool] = False
    needs_logits: ClassVar[bool] = False
    trained_head: ClassVar[Literal["character_ctc_head", "subword_ctc_head"] | None] = None

    columns: tuple[ColumnMaker, ...] = ()
    depths: tuple[int, ...] = ()
    metrics: tuple[str, ...] = ()
    has_learnt: bool = False

    def __init__(self, weight: float = 1.0) -> None:
        if not weight >= 0:
            raise ValueError(f"The weight of `{self.name}` must be at least 0, got {weight!r}.")
        self.weight = weight

    def prepare(self, student: AuraForSpeechQA, heads: DistillationHeads | None) -> None:
        """Called once, before anything else: what depends on the student or the layer pairs is set here.

        Args:
            student: that is trained.
            heads: the distillation heads, where an objective needs a teacher.

        Raises:
            ValueError: the student lacks what the objective trains.
        """
        self.audio_token_id = student.config.audio_token_id

    @abstractmethod
    def count(self, batch: Mapping[str, Any]) -> torch.Tensor:
        """Of how many values [`loss`] is the sum in this batch, a scalar on the batch's device. No waiting for the device here."""

    @abstractmethod
    def loss(self, outputs: StudentOutputs) -> torch.Tensor:
        """The sum over one batch, a float32 scalar with a gradient. Padding must not enter it."""

    def metric_counts(self, batch: Mapping[str, Any]) -> Sequence[torch.Tensor]:
        """For each of `metrics` what its sum is divided by; that of the loss if not said otherwise."""
        return [self.count(batch)] * len(self.metrics)

    def metric_sums(self, outputs: StudentOutputs) -> Sequence[torch.Tensor]:
        """For each of `metrics` its sum over one batch, a scalar without a gradient."""
        return []

    def report(self, figures: Mapping[str, float], counts: Mapping[str, float], is_last: bool) -> None:  # noqa: B027 (most have nothing to say)
        """Called at each log and at the end of the training: the place to warn, or to raise, of what only the numbers tell.

        Args:
            figures: means of the objective's metrics since the last log.
            counts: what they are means over, in all processes.
            is_last: the training has ended.
        """


def num_audio_tokens(batch: Mapping[str, Any], audio_token_id: int) -> torch.Tensor:
    """Audio tokens of a batch, a scalar."""
    return batch["input_ids"].eq(audio_token_id).sum()
