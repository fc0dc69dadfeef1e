"""What training itself takes, and when a run is scored: a callback of the trainer."""

import math
import time
from typing import Any

from transformers import TrainerCallback


class TrainingClock(TrainerCallback):
    """Counts the seconds of training, those of reading rows among them, without evaluations and the writing of checkpoints.

    Every log gets `train_seconds` (wall time) and `train_cpu_seconds` (of this process, which should be nearly as many when it has a core
    for itself), so a run that is resumed counts on from its checkpoint. The clock also says when a checkpoint is written and
    when the validation rows are evaluated: after each of so many equal parts of the run.

    Args:
        num_checks: checkpoints of a run, the last at its end.
        num_evaluations: evaluations of a run, a multiple of `num_checks`.
        minutes: of training after which the run ends; `None` = it ends after its `max_steps`.
    """

    def __init__(self, num_checks: int, num_evaluations: int, minutes: float | None = None) -> None:
        self.num_checks = num_checks
        self.num_evaluations = num_evaluations
        self.minutes = minutes
        self.seconds = self.cpu_seconds = 0.0
        self._since: tuple[float, float] | None = None

    def start(self) -> None:
        """Counts from here on: what comes before the first step, such as statistics of the teacher's states, is training too."""
        self._since = time.perf_counter(), time.process_time()

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step:
            last = [entry for entry in state.log_history if "train_seconds" in entry][-1]
            self.seconds, self.cpu_seconds = last["train_seconds"], last["train_cpu_seconds"]
            self.start()  # loading the checkpoint does not count

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        before = self._progress(state.global_step - 1, state.max_steps)
        if self._since is not None:
            wall, cpu = self._since
            self.start()
            self.seconds += self._since[0] - wall
            self.cpu_seconds += self._since[1] - cpu
        after = self._progress(state.global_step, state.max_steps)
        if _passes(before, after, self.num_evaluations):
            control.should_log = control.should_evaluate = True
        if _passes(before, after, self.num_checks):
            control.should_log = control.should_save = True
        if after >= 1:
            control.should_training_stop = True

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        state.log_history[-1].update(train_seconds=self.seconds, train_cpu_seconds=self.cpu_seconds)

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.start()

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.start()

    def _progress(self, step: int, max_steps: int) -> float:
        """The share of the run that is done."""
        return step / max_steps if self.minutes is None else self.seconds / (60 * self.minutes)


def _passes(before: float, after: float, num_parts: int) -> bool:
    """Whether the end of one of `num_parts` equal parts of the run lies between two points of it."""
    return math.floor(after * num_parts + 1e-9) > math.floor(before * num_parts + 1e-9)
