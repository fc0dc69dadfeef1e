"""What the runs found, and how it is read at any step or second."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from aura_research.ablations.arms import AblationError, recipe_digest
from aura_research.ablations.worker import RESULT


Axis = Literal["step", "train_seconds"]
RUNS = "runs.jsonl"
"""The published runs, in the folder of the report's pictures."""

CROSS_ENTROPY = "eval_lm_loss"
ANSWER_KL = "eval_answer_kl_loss"
CTC = "eval_character_ctc_loss"
COSINE = "eval_cosine"


@dataclass(frozen=True)
class LoggedFigure:
    """A figure that the trainer logs of the validation rows.

    Attributes:
        key: its name in the logs.
        by_ratio: two runs are compared by their ratio, not by their difference: seeds spread a loss in proportion to its height.
        depends_on: two runs that differ in a setting that begins so measure it at different things.
    """

    key: str
    label: str
    by_ratio: bool
    higher_is_better: bool
    depends_on: tuple[str, ...] = ()

    def beside(self, own: float, other: float) -> float:
        """The difference of two values, of losses that of their natural logs."""
        return math.log(own / other) if self.by_ratio else own - other

    def is_comparable(self, run: "RunResult", other: "RunResult") -> bool:
        """Whether the figure of both runs is of the same thing."""
        return not any(setting.startswith(self.depends_on) for setting in {*run.settings} ^ {*other.settings})


LOGGED_FIGURES = (
    LoggedFigure(CROSS_ENTROPY, "cross-entropy", by_ratio=True, higher_is_better=False),
    LoggedFigure(ANSWER_KL, "answer KL", by_ratio=True, higher_is_better=False),
    LoggedFigure(CTC, "CTC loss", by_ratio=True, higher_is_better=False),
    LoggedFigure(
        COSINE,
        "cosine to the teacher",
        by_ratio=False,
        higher_is_better=True,
        depends_on=("teacher.", "losses.layer_mapping", "model.lora_num_layers", "model.frames_per_token"),
    ),
)


@dataclass(frozen=True)
class RunResult:
    """One finished run.

    Attributes:
        settings: what the arm changed.
        recipe: [`recipe_digest`] of what it was changed in.
        log: the trainer's logs, each with `step`, `train_seconds` and `train_cpu_seconds`.
        checks: where the student was scored: `step` and `train_seconds`; empty where it was not.
        marks: kind of clip -> name -> at every check, right or not.
        common_settings: what all arms changed in the recipe; of older runs also a setting that the trainer no longer has.
    """

    name: str
    seed: int
    settings: list[str]
    minutes: float | None
    recipe: str
    log: list[dict[str, Any]]
    checks: list[dict[str, Any]]
    marks: dict[str, dict[str, list[bool]]]
    machine: str
    common_settings: list[str] = field(default_factory=list)

    def end(self, axis: Axis) -> float:
        """The run's last step, or its seconds of training."""
        return self.log[-1][axis]

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
        marks = self.marks.get(kind)
        if not marks:
            return None
        by_check = list(zip(*marks.values(), strict=True))
        values = interpolate([check[axis] for check in self.checks], by_check, at)
        return None if values is None else dict(zip(marks, values.tolist(), strict=True))

    def last_marks(self, kind: str) -> list[bool]:
        """Of all clips of a kind, whether the run ended with a right answer."""
        return [of_clip[-1] for of_clip in self.marks.get(kind, {}).values()]


Results = Mapping[str, Mapping[int, RunResult]]
"""Name of a run -> seed -> what it found."""


def logged_figures(runs: Iterable[RunResult]) -> list[LoggedFigure]:
    """The figures that at least one of the runs logged."""
    keys = {key for run in runs for entry in run.log for key in entry}
    return [figure for figure in LOGGED_FIGURES if figure.key in keys]


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


def load_results(out: Path, names: Iterable[str]) -> Results:
    """The finished runs of these names in a folder of runs."""
    return {
        name: _by_seed(
            RunResult(**json.loads(path.read_text(encoding="utf-8"))) for path in out.glob(f"{name}/seed-*/{RESULT}")
        )
        for name in dict.fromkeys(names)
    }


def publish(path: Path, results: Results, recipe: Path) -> Results:
    """Adds finished runs to those in `path`, a JSON line each, so that a later round need not run them again.

    Args:
        results: a run of a name and seed that `path` holds takes its place.
        recipe: what the arms change today.

    Returns:
        all runs in `path`.

    Raises:
        AblationError: runs are of another recipe, and say nothing beside the others.
    """
    published = read_published(path)
    merged = {name: dict(runs) for name, runs in published.items()}
    for name, runs in results.items():
        merged.setdefault(name, {}).update(runs)
    everything = [run for name in sorted(merged) for run in _by_seed(merged[name].values()).values()]
    common_settings = everything[0].common_settings if everything else []
    digest = recipe_digest(recipe, common_settings)
    if other := [f"{run.name}, seed {run.seed}" for run in everything if run.recipe != digest]:
        changed = f" with {' '.join(common_settings)}" if common_settings else ""
        raise AblationError(
            f"Not of {recipe} as it is now{changed}: {'; '.join(other)}. Remove them from {path}, or run them again."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(
        "".join(f"{json.dumps(asdict(_without_losses(run)))}\n" for run in everything), encoding="utf-8"
    )
    partial.replace(path)
    return read_published(path)


def read_published(path: Path) -> Results:
    """The runs that [`publish`] wrote; none where there is no such file."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    results: dict[str, dict[int, RunResult]] = {}
    for run in (RunResult(**json.loads(line)) for line in lines):
        results.setdefault(run.name, {})[run.seed] = run
    return results


def _by_seed(runs: Iterable[RunResult]) -> dict[int, RunResult]:
    return {run.seed: run for run in sorted(runs, key=lambda run: run.seed)}


def _without_losses(run: RunResult) -> RunResult:
    """The run with what the report reads of its log: the evaluations, and how long all took."""
    keys = ("step", "train_seconds", "train_cpu_seconds", *(figure.key for figure in LOGGED_FIGURES))
    figures = {figure.key for figure in LOGGED_FIGURES}
    kept = [entry for entry in run.log if figures & entry.keys() or entry is run.log[-1]]
    return replace(run, log=[{key: entry[key] for key in keys if key in entry} for entry in kept])
