"""What the runs found, and how it is read at any step or second."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from student.ablations.worker import RESULT


Axis = Literal["step", "train_seconds"]
CROSS_ENTROPY = "eval_lm_loss"
COSINE = "eval_cosine"


@dataclass(frozen=True)
class RunResult:
    """One finished run.

    Attributes:
        log: the trainer's logs, each with `step`, `train_seconds` and `train_cpu_seconds`.
        checks: where the student was scored: `step`, `train_seconds` and `marks` (kind of clip -> name -> right or not).
    """

    name: str
    seed: int
    settings: list[str]
    minutes: float | None
    log: list[dict[str, Any]]
    checks: list[dict[str, Any]]
    machine: str

    def end(self, axis: Axis) -> float:
        """The run's last step, or its seconds of training."""
        return self.checks[-1][axis]

    @property
    def core_share(self) -> float:
        """Processor time to wall time: 1 = the run had a core for itself."""
        return self.log[-1]["train_cpu_seconds"] / self.log[-1]["train_seconds"]

    def curve(self, key: str) -> list[dict[str, Any]]:
        """The logs that hold `key`, in order."""
        return [entry for entry in self.log if key in entry]

    def value_at(self, key: str, axis: Axis, at: float) -> float | None:
        """A logged value between its logs, linearly; `None` before the first."""
        entries = self.curve(key)
        value = interpolate([entry[axis] for entry in entries], [[entry[key]] for entry in entries], at)
        return None if value is None else float(value[0])

    def marks_at(self, kind: str, axis: Axis, at: float) -> dict[str, float] | None:
        """The mark of each clip (0 wrong to 1 right) between two scorings, linearly; `None` before the first, or without such clips."""
        if kind not in self.checks[0]["marks"]:
            return None
        names = list(self.checks[0]["marks"][kind])
        marks = [[check["marks"][kind][name] for name in names] for check in self.checks]
        values = interpolate([check[axis] for check in self.checks], marks, at)
        return None if values is None else dict(zip(names, values.tolist(), strict=True))


def interpolate(places: Sequence[float], values: Sequence[Sequence[float]], at: float) -> np.ndarray | None:
    """Linear interpolation of vectors.

    Args:
        places: `n` rising numbers.
        values: `(n, m)`.
        at: where to read; behind the last place the last values hold.

    Returns:
        `(m,)`, or `None` where there is no place at or before `at`.
    """
    if not places or at < places[0]:
        return None
    columns = np.asarray(values, float).T
    return np.array([np.interp(at, places, column) for column in columns])


def load_results(out: Path, names: Iterable[str]) -> dict[str, dict[int, RunResult]]:
    """The finished runs of these names in a folder: name -> seed -> result."""
    results: dict[str, dict[int, RunResult]] = {}
    for name in dict.fromkeys(names):
        found = [
            RunResult(**json.loads(path.read_text(encoding="utf-8"))) for path in out.glob(f"{name}/seed-*/{RESULT}")
        ]
        results[name] = {result.seed: result for result in sorted(found, key=lambda result: result.seed)}
    return results
