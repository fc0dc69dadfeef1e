"""Systems that were trained several times, from other seeds: `bridge#1` and `bridge#2` are trainings of `bridge`, and together `bridge#all`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from .figures import ALL, ScoredRun


TRAINING = "#"


def trainings_together(runs: Sequence[ScoredRun]) -> list[ScoredRun]:
    """Of each system with several trainings, a run that holds the answers of all of them, by benchmark, condition and scorer."""
    alike: dict[tuple[str, str, str, str], list[ScoredRun]] = {}
    for run in runs:
        system, mark, _ = run.system.partition(TRAINING)
        if mark:
            alike.setdefault((system, run.benchmark, run.condition, run.scorer.name), []).append(run)
    return [
        replace(
            trainings[0],
            system=f"{system}{TRAINING}{ALL}",
            items=tuple(replace(item, training=run.system) for run in trainings for item in run.items),
        )
        for (system, *_), trainings in alike.items()
        if len(trainings) > 1
    ]


def without_single_trainings(systems: Iterable[str]) -> set[str]:
    """The names of systems, without those of trainings that stand together under another name."""
    names = set(systems)
    return {
        name
        for name in names
        if name.endswith(f"{TRAINING}{ALL}") or f"{name.partition(TRAINING)[0]}{TRAINING}{ALL}" not in names
    }
