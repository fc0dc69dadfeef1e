"""Intervals of figures and tests between systems, both from what each item scored.

An item scores a vector of statistics whose sums give the figure: `(right, 1)` for a share, `(errors, words)` for a word error rate, the counts
of n-grams for BLEU. Resampling items means summing other rows of one table, whatever the figure is.

Items of one source (the same question in eleven accents, the same recording at seven noise levels) are not independent of each other,
so sources are drawn, with all of their items.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np


Value = Callable[[np.ndarray], np.ndarray]
"""From summed statistics `(..., num_statistics)` to figures `(...)`."""

NUM_RESAMPLES = 2000


@dataclass(frozen=True)
class Interval:
    """A 95 % confidence interval.

    Attributes:
        low, high: its ends, in the figure's own unit.
        method: how it was found, and over what.
    """

    low: float
    high: float
    method: str


@dataclass(frozen=True)
class Comparison:
    """Two systems on the same items.

    Attributes:
        difference: the first system's figure minus the second's.
        interval: of the difference.
        p_value: how often systems that were alike would differ as much, two-sided; `None` where there is nothing to draw.
        num_items: how many items both were asked.
    """

    difference: float
    interval: Interval
    p_value: float | None
    num_items: int


def wilson_interval(right: float, total: int) -> Interval:
    """Of a share of `right` in `total` independent items (Wilson 1927).

    Raises:
        ValueError: there are no items.
    """
    if total < 1:
        raise ValueError("A share of no items has no interval.")
    z = 1.959964
    share = right / total
    middle = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    return Interval(max(0.0, middle - half), min(1.0, middle + half), f"Wilson over {total} items")


def interval_of(
    statistics: np.ndarray, value: Value, sources: Sequence[Hashable], resamples: int = NUM_RESAMPLES, seed: int = 0
) -> Interval:
    """The percentile bootstrap interval of a figure, or Wilson's of a share of independent marks that are 0 or 1.

    Args:
        statistics: `(num_items, num_statistics)`, see above.
        value: makes the figure of their sums.
        sources: of each item; items of one source are drawn together.
        resamples: how many samples are drawn.
        seed: of the draws.

    Raises:
        ValueError: there are no items, or not one source an item.
    """
    sums, kind = _sums_by_source(statistics, sources)
    if len(sums) == len(statistics) and _is_share(statistics):
        return wilson_interval(float(statistics[:, 0].sum()), len(statistics))
    if _is_share(statistics) and _all_equal(sums):
        # Resampling equal sources tells nothing: all right, or all wrong, is as sure as so many independent items would be.
        share = float(statistics[:, 0].mean())
        found = wilson_interval(share * len(sums), len(sums))
        return Interval(found.low, found.high, f"Wilson over {len(sums)} {kind}")
    drawn = value(_draw(sums, resamples, seed))
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Interval(float(low), float(high), f"bootstrap over {len(sums)} {kind}")


def compare(
    first: np.ndarray,
    second: np.ndarray,
    value: Value,
    sources: Sequence[Hashable],
    resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> Comparison:
    """A paired test between two systems on the same items.

    The interval is the paired bootstrap's: both systems get the same draws (Newcombe's where every source differs alike). The p-value is that of approximate randomisation (Noreen
    1989): in each of `resamples` trials each source's scores change sides or do not, and the trials whose difference is at least
    the observed one are counted, the observed one with them.

    Args:
        first, second: `(num_items, num_statistics)` of either system, the same items in the same order.
        value, sources, resamples, seed: as for [`interval_of`].

    Raises:
        ValueError: the two were not asked the same number of items, or there are none.
    """
    if first.shape != second.shape:
        raise ValueError(f"A paired test needs the same items of both systems, got {len(first)} and {len(second)}.")
    sums_first, kind = _sums_by_source(first, sources)
    sums_second, _ = _sums_by_source(second, sources)
    observed = float(value(sums_first.sum(axis=0)) - value(sums_second.sum(axis=0)))
    differences = value(_draw(sums_first, resamples, seed)) - value(_draw(sums_second, resamples, seed))
    if _is_share(first) and _is_share(second) and len(np.unique(sums_first - sums_second, axis=0)) == 1:
        interval = _difference_of_wilson(
            first, second, len(sums_first), kind
        )  # resampling equal differences tells nothing
    else:
        low, high = np.percentile(differences, [2.5, 97.5])
        interval = Interval(float(low), float(high), f"paired bootstrap over {len(sums_first)} {kind}")
    if np.array_equal(sums_first, sums_second):
        return Comparison(observed, interval, None, len(first))
    swaps = np.random.default_rng(seed).integers(2, size=(resamples, len(sums_first)))
    change = sums_second - sums_first
    moved = swaps @ change
    trials = value(sums_first.sum(axis=0) + moved) - value(sums_second.sum(axis=0) - moved)
    as_far = int((np.abs(trials) >= abs(observed) - 1e-12).sum())
    return Comparison(observed, interval, (as_far + 1) / (resamples + 1), len(first))


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values of several tests, corrected for their number (Holm 1979), in the same order."""
    order = np.argsort(p_values, kind="stable")
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = largest
    return corrected


def _sums_by_source(statistics: np.ndarray, sources: Sequence[Hashable]) -> tuple[np.ndarray, str]:
    if not len(statistics) or len(statistics) != len(sources):
        raise ValueError(
            f"One source for each item, at least one: got {len(statistics)} items, {len(sources)} sources."
        )
    numbers = {source: number for number, source in enumerate(dict.fromkeys(sources))}
    sums = np.zeros((len(numbers), statistics.shape[1]))
    np.add.at(sums, [numbers[source] for source in sources], statistics)
    return sums, "items" if len(sums) == len(statistics) else "sources"


def _is_share(statistics: np.ndarray) -> bool:
    """Whether each item is right or wrong."""
    return bool(
        statistics.shape[1] == 2 and (statistics[:, 1] == 1).all() and np.isin(statistics[:, 0], (0.0, 1.0)).all()
    )


def _difference_of_wilson(first: np.ndarray, second: np.ndarray, num_sources: int, kind: str) -> Interval:
    """Of the difference of two shares, from their Wilson intervals by squaring and adding (Newcombe 1998, as if they were independent)."""
    shares = [float(statistics[:, 0].mean()) for statistics in (first, second)]
    of_first, of_second = (wilson_interval(share * num_sources, num_sources) for share in shares)
    difference = shares[0] - shares[1]
    below = math.hypot(shares[0] - of_first.low, of_second.high - shares[1])
    above = math.hypot(of_first.high - shares[0], shares[1] - of_second.low)
    return Interval(max(-1.0, difference - below), min(1.0, difference + above), f"Newcombe over {num_sources} {kind}")


def _all_equal(sums: np.ndarray) -> bool:
    shares = sums[:, 0] / sums[:, 1]
    return bool((shares == shares[0]).all())


def _draw(sums: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """`(resamples, num_statistics)`: sums of as many sources as there are, drawn with replacement."""
    drawn = np.random.default_rng(seed).multinomial(len(sums), np.full(len(sums), 1 / len(sums)), size=resamples)
    return drawn @ sums
