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
        needs_second_teacher: it compares layer pairs with the second teacher ([`StudentOutputs.second_layer_pairs`]).
        needs_text: a row of speech alone teaches it nothing, so it is an error.
        needs_logits: it reads [`StudentOutputs.labelled_logits`]: the pass runs all layers.
        teaches_answers: steps of `distillation_warmup_steps` leave the term out.
        asks_student: it makes columns with the student as it is now ([`student_columns`]).
        share_of_steps: share of the optimisation steps that have the term, at random.
        trained_head: which CTC head of the student it trains.
        columns: makers of the columns that it needs in the batch. None makes a column of another.
        base_reads: what the base LLM, LoRA off, reads for it: `"gold"` stands for the columns `gold_input_ids` and `gold_attention_mask`. It finds the
            states in [`StudentOutputs.base_states`]. An objective never runs the LLM by itself: where the base LLM is sharded, all processes run a
            layer at the same time.
        base_depth: after how many decoder layers, without the final norm; `None` = all, with it.
        depths: depths whose hidden states it reads: 0 = the patch embedding's output, `n` = that of the first `n` decoder layers.
        metrics: names of further figures that it logs, beside its loss.
        has_learnt: whether there was anything to learn from so far, in this run or before it was resumed; the trainer sets it.

    Example:

    ```python
    class SmallEmbeddings(Objective):
        name = "small_embeddings"
        depths = (0,)

        def count(self, batch):
            return batch["input_ids"].eq(self.audio_token_id).sum()

        def loss(self, outputs):
            states = outputs.audio_states(0)
            is_real = torch.arange(states.shape[1]) < outputs.num_audio_tokens[:, None]
            return states[is_real].float().square().mean(dim=-1).sum()


    trainer = AuraTrainer(..., objectives={**default_objectives(args), "small": SmallEmbeddings(weight=0.1)})
    ```
    """

    name: ClassVar[str]
    needs_teacher: ClassVar[bool] = False
    needs_second_teacher: ClassVar[bool] = False
    needs_text: ClassVar[bool] = False
    needs_logits: ClassVar[bool] = False
    teaches_answers: ClassVar[bool] = False
    asks_student: ClassVar[bool] = False
    trained_head: ClassVar[Literal["character_ctc_head", "subword_ctc_head"] | None] = None

    columns: tuple[ColumnMaker, ...] = ()
    base_reads: str | None = None
    base_depth: int | None = None
    depths: tuple[int, ...] = ()
    metrics: tuple[str, ...] = ()
    share_of_steps: float = 1.0
    has_learnt: bool = False

    def __init__(self, weight: float = 1.0) -> None:
        if not weight >= 0:
            raise ValueError(f"The weight of `{self.name}` must be at least 0, got {weight!r}.")
        self.weight = weight

    def prepare(self, student: AuraForSpeechQA, heads: DistillationHeads | None) -> None:
        """Called once, before anything else: what depends on the student or the layer pairs is set here.

        Args:
            student: that is trained.
            heads: the distillation heads of the teacher that the objective needs.

        Raises:
            ValueError: the student lacks what the objective trains.
        """
        self.audio_token_id = student.config.audio_token_id

    def student_columns(
        self, student: AuraForSpeechQA, batch: Mapping[str, Any], seed: Sequence[int] | None
    ) -> dict[str, Any]:
        """Columns that depend on the student as it is now, such as what it answers. None makes a column of another.

        Called before the first pass of an optimisation step for each of its batches, and before each pass of an evaluation, without gradients.

        Args:
            student: that is trained; to be left in the mode (training or evaluation) in which it comes.
            batch: its columns so far, on the student's device.
            seed: whole numbers that settle all chance, so that a resumed run goes on as if it had not ended; `None` in an evaluation, which has no chance.

        Returns:
            the columns, which are added to the batch.
        """
        return {}

    @abstractmethod
    def count(self, batch: Mapping[str, Any]) -> torch.Tensor:
        """Of how many values [`loss`] is the sum in this batch. No waiting for the device here.

        Args:
            batch: what the collator made.

        Returns:
            a scalar on the batch's device.
        """

    @abstractmethod
    def loss(self, outputs: StudentOutputs) -> torch.Tensor:
        """The sum over one batch. Padding must not enter it.

        Args:
            outputs: what the student made of the batch.

        Returns:
            a float32 scalar with a gradient.
        """

    def metric_counts(self, batch: Mapping[str, Any]) -> Sequence[torch.Tensor]:
        """What the sums of the metrics are divided by.

        Args:
            batch: what the collator made.

        Returns:
            a scalar for each of `metrics`; the count of the loss if not said otherwise.
        """
        return [self.count(batch)] * len(self.metrics)

    def metric_sums(self, outputs: StudentOutputs) -> Sequence[torch.Tensor]:
        """Sums of the metrics over one batch.

        Args:
            outputs: what the student made of the batch.

        Returns:
            a scalar without a gradient for each of `metrics`.
        """
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
