"""From answers to figures: every one with its n, its failures and its 95 % interval, for all items and for each group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .generations import Generation
from .items import Item, length_group, shortest_seconds
from .scorers import Reference, Scorer
from .statistics import Comparison, Interval, compare, interval_of


ALL = "all"
"""The group that every item is in."""

MIN_GROUP_ITEMS = 5
"""Smaller groups are not shown: their interval would be the whole scale."""


@dataclass(frozen=True)
class Figure:
    """A number of the report.

    Attributes:
        system, benchmark, condition, scorer: what was measured how.
        group: [`ALL`], or a group's key and value: `"accent=aus"`.
        value: in the scorer's own unit (1 = 100 % of a share or rate).
        num_items: how many answers it is made of: of every item, and where a system was trained several times of every training.
        num_failed: how many of them are missing, counted as wrong.
        interval: 95 % confidence interval.
    """

    system: str
    benchmark: str
    condition: str
    scorer: str
    group: str
    value: float
    num_items: int
    num_failed: int
    interval: Interval


@dataclass(frozen=True)
class ScoredItem:
    """What one item scored, as it stands in `scores.jsonl`.

    Attributes:
        item: its name.
        cluster: items with the same one are not independent of each other.
        groups: `"accent=aus"`, `"length=2-5 s"`.
        failed: whether there is no answer.
        statistics: whose sums give the figure.
        confidence: how sure the system was, `None` where it does not say.
        training: which of the system's trainings answered, where they stand together.
    """

    item: str
    cluster: str
    groups: tuple[str, ...]
    failed: bool
    statistics: tuple[float, ...]
    confidence: float | None = None
    training: str = ""


@dataclass(frozen=True)
class ScoredRun:
    """One system's answers to one benchmark under one condition, scored by one scorer; those of all its trainings, or of one.

    Attributes:
        system, benchmark, condition: their names.
        scorer: how they are scored.
        items: what each of them scored, in the benchmark's order.
    """

    system: str
    benchmark: str
    condition: str
    scorer: Scorer
    items: tuple[ScoredItem, ...]

    @cached_property
    def statistics(self) -> np.ndarray:
        """`(num_items, num_statistics)`."""
        return np.asarray([item.statistics for item in self.items], dtype=np.float64)

    @cached_property
    def groups(self) -> dict[str, list[int]]:
        """Indices of the items of every group that is large enough, [`ALL`] first."""
        found: dict[str, list[int]] = {ALL: list(range(len(self.items)))}
        for index, item in enumerate(self.items):
            for group in item.groups:
                found.setdefault(group, []).append(index)
        in_order = sorted(found, key=shortest_seconds)  # stable: other groups keep the order in which they came
        return {group: found[group] for group in in_order if group == ALL or len(found[group]) >= MIN_GROUP_ITEMS}

    def figures(self, seed: int = 0) -> list[Figure]:
        """Of all items, and of each group."""
        return [self._figure(group, members, seed) for group, members in self.groups.items()]

    def is_right(self) -> np.ndarray:
        """`(num_items,)`: whether each item scores the best there is."""
        values = np.asarray(self.scorer.value(self.statistics))
        best = 1.0 if self.scorer.is_share else 100.0
        return values >= best - 1e-9 if self.scorer.higher_is_better else values <= 0.0

    def compare(self, other: ScoredRun, seed: int = 0) -> Comparison:
        """A paired test against another system on the same items.

        Raises:
            ValueError: the items or scorers differ.
        """
        everything = (self._by_training(self.groups[ALL]), other._by_training(other.groups[ALL]))
        (statistics, asked), (others, also_asked) = everything
        if [item.item for item in asked] != [item.item for item in also_asked]:
            raise ValueError(f"{self.system} and {other.system} were not asked the same items of {self.benchmark}.")
        if self.scorer.identity != other.scorer.identity:
            raise ValueError(f"{self.system} and {other.system} were not scored alike on {self.benchmark}.")
        return compare(statistics, others, self.scorer.value, [item.cluster for item in asked], seed=seed)

    @property
    def has_trainings(self) -> bool:
        """Whether answers of several trainings stand together."""
        return len({item.training for item in self.items}) > 1

    def _by_training(self, members: list[int]) -> tuple[np.ndarray, list[ScoredItem]]:
        """`(num_trainings, num_items, num_statistics)` of some of the items, and these as the first training has them.

        Raises:
            ValueError: two trainings were not asked the same items.
        """
        of_trainings: dict[str, list[int]] = {}
        for index in members:
            of_trainings.setdefault(self.items[index].training, []).append(index)
        first, *others = of_trainings.values()
        asked = [self.items[index].item for index in first]
        if any([self.items[index].item for index in indices] != asked for indices in others):
            raise ValueError(f"The trainings of {self.system} were not asked the same items of {self.benchmark}.")
        statistics = np.stack([self.statistics[indices] for indices in of_trainings.values()])
        return statistics, [self.items[index] for index in first]

    def _figure(self, group: str, members: list[int], seed: int) -> Figure:
        statistics, asked = self._by_training(members)
        return Figure(
            self.system,
            self.benchmark,
            self.condition,
            self.scorer.name,
            group,
            float(self.scorer.value(statistics.sum(axis=(0, 1)))),
            len(members),
            sum(self.items[index].failed for index in members),
            interval_of(statistics, self.scorer.value, [item.cluster for item in asked], seed=seed),
        )


def score(
    system: str,
    benchmark: str,
    condition: str,
    items: Sequence[Item],
    generations: Mapping[str, Generation],
    scorer: Scorer,
) -> ScoredRun:
    """Scores a system's answers, by the items' names; an item without an answer scores as an empty one."""
    scored = []
    for item in items:
        generation = generations[item.name]
        groups = [f"{key}={value}" for key, value in item.groups.items()]
        if generation.seconds is not None:
            groups.append(length_group(generation.seconds))
        reference = Reference(item.accepted, item.needed, item.text or item.question)
        statistics = tuple(float(number) for number in scorer.statistics(generation.answer, reference))
        failed = generation.error is not None
        scored.append(ScoredItem(item.name, item.cluster, tuple(groups), failed, statistics, generation.confidence))
    return ScoredRun(system, benchmark, condition, scorer, tuple(scored))


@dataclass(frozen=True)
class Lost:
    """Items that one system gets and another misses.

    Attributes:
        items: their names.
        by_group: of each group, how many of its items they are, `(lost, all)`.
    """

    items: list[str]
    by_group: dict[str, tuple[int, int]]


def lost_items(gets: ScoredRun, misses: ScoredRun) -> Lost:
    """What is lost from one system to another, grouped: from a cascade to a student, what dropping the encoder costs."""
    lost = gets.is_right() & ~misses.is_right()
    by_group = {group: (int(lost[members].sum()), len(members)) for group, members in gets.groups.items()}
    return Lost([item.item for item, is_lost in zip(gets.items, lost, strict=True) if is_lost], by_group)
