"""What the objectives of the two CTC heads share: which transcripts they learn from, and what they say of the others."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from transformers.utils import logging

from ..ctc import has_path
from ..student_outputs import StudentOutputs
from .objective import Objective


logger = logging.get_logger(__name__)

ENOUGH_TRANSCRIPTS = 256
"""If none of so many transcripts can be learnt from, none is taken to be, before the training ends."""


class CTCObjective(Objective):
    """CTC on the transcripts of clips. A transcript that has no symbols, or more than its clip has frames for, is left out.

    The share of these is logged as `NAME_skipped`, with one warning. If it is all of them, that is an error: the head would stay untaught.

    Attributes:
        symbols, lengths: names of the columns of the transcripts, `(rows, symbols)` and `(rows,)`.
        frames_per_token: frames of the head in an audio token.
    """

    needs_text = True
    symbols: str
    lengths: str
    frames_per_token: int = 1

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__(weight)
        self.metrics = (f"{self.name}_skipped",)
        self._num_transcripts = self._num_skipped = 0.0
        self._warned = False

    @abstractmethod
    def num_transcripts(self, batch: Mapping[str, Any]) -> torch.Tensor:
        """Clips of a batch that have a transcript, a scalar."""

    @property
    def demand(self) -> str:
        """What a transcript must do to be learnt from, after "can"."""
        return "be aligned with its clip, which takes a word at least, and a frame for each symbol"

    @property
    def remedy(self) -> str:
        """What to do if none can."""
        return "Check that transcripts and clips belong together, set a smaller `frames_per_token`"

    def learnt_rows(self, batch: Mapping[str, Any]) -> torch.Tensor:
        """Which rows of a batch teach something, `torch.BoolTensor` of shape `(rows,)`."""
        frames = batch["input_ids"].eq(self.audio_token_id).sum(-1) * self.frames_per_token
        return has_path(frames, batch[self.symbols], batch[self.lengths])

    def count(self, batch: Mapping[str, Any]) -> torch.Tensor:
        return (batch[self.lengths] * self.learnt_rows(batch)).sum()

    def metric_counts(self, batch: Mapping[str, Any]) -> Sequence[torch.Tensor]:
        return [self.num_transcripts(batch)]

    def metric_sums(self, outputs: StudentOutputs) -> Sequence[torch.Tensor]:
        batch = outputs.batch
        return [(self.num_transcripts(batch) - self.learnt_rows(batch).sum()).float()]

    def report(self, figures: Mapping[str, float], counts: Mapping[str, float], is_last: bool) -> None:
        """Warns once of transcripts that are left out.

        Raises:
            ValueError: all are.
        """
        (metric,) = self.metrics
        self._num_transcripts += counts.get(metric, 0.0)
        self._num_skipped += counts.get(metric, 0.0) * figures.get(metric, 0.0)
        if not self._num_skipped:
            return
        if not self.has_learnt and (is_last or self._num_transcripts >= ENOUGH_TRANSCRIPTS):
            raise ValueError(
                f"None of {self._num_transcripts:.0f} transcripts can {self.demand}: the student's {self.trained_head} learns nothing. {self.remedy}, "
                f"or `{self.name}_weight` to 0."
            )
        if not self._warned:
            self._warned = True
            logger.warning(
                f"{self._num_skipped:.0f} of {self._num_transcripts:.0f} transcripts so far are left out of `{self.name}`. Each must {self.demand}. "
                f"The log tells their share, `{metric}`."
            )
