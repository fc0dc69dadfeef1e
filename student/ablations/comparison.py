"""One arm beside another: the same seeds, the same clips, after as many steps or as much time."""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from student.ablations.clips import REAL, SYNTHETIC
from student.ablations.results import CROSS_ENTROPY, Axis, RunResult
from student.ablations.statistics import paired_bootstrap, t_interval


Verdict = Literal["better", "worse", "undecided"]
KINDS = (SYNTHETIC, REAL)


@dataclass(frozen=True)
class Difference:
    """An arm's figure minus the reference's.

    Attributes:
        interval: 95 %; `None` where one seed cannot tell.
        num_seeds: the seeds that both have.
        verdict: `"better"` or `"worse"` only if the interval excludes 0.
    """

    value: float
    interval: tuple[float, float] | None
    num_seeds: int
    verdict: Verdict


@dataclass(frozen=True)
class Comparison:
    """An arm beside a reference, read on one axis where the faster of the two runs of each seed had ended.

    Attributes:
        at: where it was read, mean over the seeds: steps or seconds.
        acceptance: kind of clip -> difference of the share of orders with every labelled slot right.
        cross_entropy: difference in nats a token, of the answers to the validation clips.
    """

    arm: str
    reference: str
    axis: Axis
    at: float
    acceptance: dict[str, Difference]
    cross_entropy: Difference | None


def compare(
    arm: str, reference: str, runs: Mapping[int, RunResult], others: Mapping[int, RunResult], axis: Axis
) -> Comparison | None:
    """Compares the runs of an arm with those of a reference, by their seeds; `None` if they share none.

    On the axis of steps that is equal steps; on that of seconds equal time. Marks and cross-entropy are interpolated between the points
    where they were taken. What cannot be read, because one run had not been scored by then, is left out.
    """
    seeds = sorted(runs.keys() & others.keys())
    if not seeds:
        return None
    at = {seed: min(runs[seed].end(axis), others[seed].end(axis)) for seed in seeds}
    acceptance = {}
    for kind in KINDS:
        differences = [
            row for seed in seeds if (row := _mark_differences(runs[seed], others[seed], kind, axis, at[seed]))
        ]
        if differences:
            acceptance[kind] = _acceptance_difference(np.array(differences))
    pairs = [
        (runs[seed].value_at(CROSS_ENTROPY, axis, at[seed]), others[seed].value_at(CROSS_ENTROPY, axis, at[seed]))
        for seed in seeds
    ]
    known = [own - other for own, other in pairs if own is not None and other is not None]
    return Comparison(
        arm, reference, axis, statistics.fmean(at.values()), acceptance, _nats_difference(known) if known else None
    )


def _mark_differences(run: RunResult, other: RunResult, kind: str, axis: Axis, at: float) -> list[float] | None:
    own, others = run.marks_at(kind, axis, at), other.marks_at(kind, axis, at)
    if own is None or others is None:
        return None
    if own.keys() != others.keys():
        raise ValueError(
            f"{run.name} and {other.name}, seed {run.seed}, were scored on other {kind} clips than each other."
        )
    return [own[name] - others[name] for name in sorted(own)]


def _acceptance_difference(differences: np.ndarray) -> Difference:
    interval = paired_bootstrap(differences)
    return Difference(float(differences.mean()), interval, len(differences), _verdict(interval, higher_is_better=True))


def _nats_difference(differences: list[float]) -> Difference:
    interval = t_interval(differences)
    return Difference(
        statistics.fmean(differences), interval, len(differences), _verdict(interval, higher_is_better=False)
    )


def _verdict(interval: tuple[float, float] | None, higher_is_better: bool) -> Verdict:
    if interval is None or interval[0] <= 0 <= interval[1]:
        return "undecided"
    return "better" if (interval[0] > 0) == higher_is_better else "worse"
