"""One arm beside another: the same seeds, the same clips, after as many steps or as much time."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from aura_research.ablations.clips import REAL, SYNTHETIC
from aura_research.ablations.results import LOGGED_FIGURES, Axis, RunResult
from aura_research.ablations.statistics import Spread, clip_variance, pooled_spread, t_interval


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
class Pairs:
    """An arm's runs beside those of a reference, by their seeds, read on one axis where the faster of the two had ended.

    Attributes:
        at: where they were read, mean over the seeds: steps or seconds.
        marks: kind of clip -> `(n_seeds, n_clips)`: differences of right (1) or wrong (0).
        logged: key of a [`LoggedFigure`] -> of each seed the difference, of losses that of their logs.
        were_scored: whether both were asked for orders at all.
    """

    arm: str
    reference: str
    axis: Axis
    at: float
    were_scored: bool
    marks: dict[str, np.ndarray]
    logged: dict[str, list[float]]

    def of_seeds(self, kind: str) -> list[float]:
        """Of each seed the difference of the share of right answers to clips of a kind."""
        return self.marks[kind].mean(axis=1).tolist() if kind in self.marks else []


@dataclass(frozen=True)
class Comparison:
    """What the pairs say.

    Attributes:
        acceptance: kind of clip -> difference of the share of orders with every labelled slot right.
        logged: key of a [`LoggedFigure`] -> difference, of losses that of their logs.
    """

    pairs: Pairs
    acceptance: dict[str, Difference]
    logged: dict[str, Difference]


def pair(
    arm: str, reference: str, runs: Mapping[int, RunResult], others: Mapping[int, RunResult], axis: Axis
) -> Pairs | None:
    """Reads the runs of an arm and those of a reference; `None` if they share no seed, or on the axis of seconds no seed on the same machine.

    On the axis of steps that is equal steps; on that of seconds equal time, in which another machine does more or less. What lies between the
    points where a run was scored is interpolated. What cannot be read, because one run had not been scored by then, is left out, as are figures of different things.
    """
    seeds = sorted(
        seed for seed in runs.keys() & others.keys() if axis == "step" or runs[seed].machine == others[seed].machine
    )
    if not seeds:
        return None
    at = {seed: min(runs[seed].end(axis), others[seed].end(axis)) for seed in seeds}
    marks = {}
    for kind in KINDS:
        rows = [row for seed in seeds if (row := _mark_differences(runs[seed], others[seed], kind, axis, at[seed]))]
        if rows:
            marks[kind] = np.array(rows)
    logged = {}
    for figure in LOGGED_FIGURES:
        values = [
            (runs[seed].value_at(figure.key, axis, at[seed]), others[seed].value_at(figure.key, axis, at[seed]))
            for seed in seeds
            if figure.is_comparable(runs[seed], others[seed])
        ]
        if known := [figure.beside(own, other) for own, other in values if own is not None and other is not None]:
            logged[figure.key] = known
    were_scored = all(runs[seed].checks and others[seed].checks for seed in seeds)
    return Pairs(arm, reference, axis, statistics.fmean(at.values()), were_scored, marks, logged)


def compare(all_pairs: Sequence[Pairs]) -> list[Comparison]:
    """Differences and their intervals.

    How far a difference varies from seed to seed is pooled over all pairs on the same axis: two or three seeds alone tell little of
    it, and a t interval of two would be thirteen standard errors wide.
    """
    compared = []
    for pairs in all_pairs:
        alike = [others for others in all_pairs if others.axis == pairs.axis]
        acceptance = {}
        for kind, marks in pairs.marks.items():
            spread = pooled_spread([others.of_seeds(kind) for others in alike])
            acceptance[kind] = _difference(pairs.of_seeds(kind), spread, True, clip_variance(marks))
        logged = {}
        for figure in LOGGED_FIGURES:
            if figure.key in pairs.logged:
                spread = pooled_spread([others.logged.get(figure.key, ()) for others in alike])
                logged[figure.key] = _difference(pairs.logged[figure.key], spread, figure.higher_is_better)
        compared.append(Comparison(pairs, acceptance, logged))
    return compared


def _mark_differences(run: RunResult, other: RunResult, kind: str, axis: Axis, at: float) -> list[float] | None:
    own, others = run.marks_at(kind, axis, at), other.marks_at(kind, axis, at)
    if own is None or others is None:
        return None
    if own.keys() != others.keys():
        raise ValueError(
            f"{run.name} and {other.name}, seed {run.seed}, were scored on other {kind} clips than each other."
        )
    return [own[name] - others[name] for name in sorted(own)]


def _difference(
    differences: Sequence[float], spread: Spread | None, higher_is_better: bool, other_variance: float = 0.0
) -> Difference:
    interval = t_interval(differences, spread, other_variance)
    return Difference(statistics.fmean(differences), interval, len(differences), _verdict(interval, higher_is_better))


def _verdict(interval: tuple[float, float] | None, higher_is_better: bool) -> Verdict:
    if interval is None or interval[0] <= 0 <= interval[1]:
        return "undecided"
    return "better" if (interval[0] > 0) == higher_is_better else "worse"
