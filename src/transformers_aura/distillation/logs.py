"""What a training run tells of itself while it runs: means between two logs, the history file, the progress bar."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ProgressCallback
from transformers.utils import logging


logger = logging.get_logger(__name__)

HISTORY_FILE_NAME = "training_history.jsonl"


class FigureMeans:
    """Means of figures over the steps since the last log, on the device, fetched with one transfer.

    Args:
        size: figures.
        device: of the training.
    """

    def __init__(self, size: int, device: torch.device) -> None:
        self._totals = torch.zeros(3, size, device=device)

    def add(self, values: torch.Tensor, counts: torch.Tensor, is_used: Sequence[bool], num_micro_batches: int) -> None:
        """Add the share of one micro-batch in its step.

        Args:
            values (`(size,)`): normalised over the step.
            counts (`(size,)`): of the whole step.
            is_used: whether the figure was computed.
            num_micro_batches: of the step.
        """
        used = (torch.tensor(is_used, device=values.device) & (counts > 0)).float() / num_micro_batches
        self._totals += torch.stack([values, used, used * counts])

    def fetch(self, accelerator: Any) -> tuple[list[float], list[float]]:
        """Mean of each figure over the steps that had it, over all processes; and the sum of its counts. Begins anew."""
        totals, steps, counts = accelerator.reduce(self._totals, "sum")
        steps, counts = steps / accelerator.num_processes, counts / accelerator.num_processes
        self._totals = torch.zeros_like(self._totals)
        return (totals / steps.clamp(min=1e-9)).tolist(), counts.tolist()


class HistoryCallback(TrainerCallback):
    """Keeps every log of a run in `training_history.jsonl` of its folder; after a resume, those up to the checkpoint and what follows.

    A log that cannot be written does not end the training: there is a warning, and the next one writes the whole file anew.
    """

    def __init__(self) -> None:
        self._is_whole = False

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._is_whole = False
        self._write(args, state)

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self._write(args, state)

    def _write(self, args: TrainingArguments, state: TrainerState) -> None:
        if not state.is_world_process_zero:
            return
        path = Path(str(args.output_dir)) / HISTORY_FILE_NAME
        entries = state.log_history[-1:] if self._is_whole else state.log_history
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a" if self._is_whole else "w", encoding="utf-8") as file:
                file.writelines(json.dumps(entry) + "\n" for entry in entries)
            self._is_whole = True
        except OSError as error:
            self._is_whole = False
            logger.warning(
                f"{path} cannot be written ({error}). The training goes on; free some space if the disk is full."
            )


class CompactProgressCallback(ProgressCallback):
    """The stock progress bar, without the details of a figure (`cosine/student_4_teacher_0`)."""

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        shown = {name: value for name, value in (logs or {}).items() if "/" not in name}
        super().on_log(args, state, control, logs=shown, **kwargs)


class ProgressLines(TrainerCallback):
    """A line after the first step and then once a minute: where there is no terminal for a progress bar, a long run still shows that it works.

    Args:
        report: gets each line.
        interval: seconds between two lines.
    """

    def __init__(self, report: Callable[[str], None], interval: float = 60.0) -> None:
        self._report = report
        self._interval = interval
        self._first_step, self._began, self._reported = 0, 0.0, -math.inf

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._first_step, self._began = state.global_step, time.monotonic()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        now = time.monotonic()
        if not state.is_world_process_zero or now < self._reported + self._interval:
            return
        self._reported = now
        a_step = (now - self._began) / (state.global_step - self._first_step)
        left = timedelta(seconds=round(a_step * (state.max_steps - state.global_step)))
        self._report(f"step {state.global_step:,} of {state.max_steps:,}: {a_step:.1f} s a step so far, {left} left")
