"""Intervals of figures and tests between systems, both from what each item scored.

An item scores a vector of statistics whose sums give the figure: `(right, 1)` for a share, `(errors, words)` for a word error rate, the counts
of n-grams for BLEU. Resampling items means summing other rows of one table, whatever the figure is.

Items of one source (the same question in eleven accents, the same recording at seven noise levels) are not independent of each other,
so sources are drawn, with all of their items. Where a system was trained several times, its trainings are drawn too: the figure is the mean over
them, and the interval is of the way to train, not of one outcome.
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
        statistics: `(num_items, num_statistics)`, see above; `(num_trainings, num_items, num_statistics)` of several trainings.
        value: makes the figure of their sums.
        sources: of each item; items of one source are drawn together.
        resamples: how many samples are drawn.
        seed: of the draws.

    Raises:
        ValueError: there are no items, or not one source an item.
    """
    sums, kind = _sums_by_source(statistics, sources)
    num_trainings, num_sources = sums.shape[:2]
    if num_trainings == 1 and num_sources == len(sources) and _is_share(statistics):
        return wilson_interval(float(statistics[..., 0].sum()), num_sources)
    if _is_share(statistics) and _all_equal(sums):
        # Resampling equal sources tells nothing: all right, or all wrong, is as sure as so many independent items would be.
        share = float(statistics[..., 0].mean())
        found = wilson_interval(share * num_sources, num_sources)
        return Interval(found.low, found.high, f"Wilson over {num_sources} {kind}")
    drawn = value(_draw(sums, resamples, seed))
    low, high = np.percentile(drawn, [2.5, 97.5])
    trainings = "" if num_trainings == 1 else f"{num_trainings} trainings and "
    return Interval(float(low), float(high), f"bootstrap over {trainings}{num_sources} {kind}")


def compare(
    first: np.ndarray,
    second: np.ndarray,
    value: Value,
    sources: Sequence[Hashable],
    resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> Comparison:
    """A paired test between two systems on the same items.

    The interval is the paired bootstrap's: both systems get the same draws of sources (Newcombe's where every source differs alike), and draws of
    their trainings of their own. The p-value is that of approximate randomisation (Noreen 1989): in each of `resamples` trials each source's
    scores, means over the trainings, change sides or do not, and the trials whose difference is at least the observed one are counted, the
    observed one with them. So it is about these trainings.

    Args:
        first, second: of either system as for [`interval_of`], the same items in the same order.
        value, sources, resamples, seed: as for [`interval_of`].

    Raises:
        ValueError: the two were not asked the same number of items, or there are none.
    """
    if first.shape[-2:] != second.shape[-2:]:
        raise ValueError(
            f"A paired test needs the same items of both systems, got {first.shape[-2]} and {second.shape[-2]}."
        )
    sums_first, kind = _sums_by_source(first, sources)
    sums_second, _ = _sums_by_source(second, sources)
    mean_first, mean_second = sums_first.mean(axis=0), sums_second.mean(axis=0)
    num_sources = len(mean_first)
    observed = float(value(mean_first.sum(axis=0)) - value(mean_second.sum(axis=0)))
    is_single = len(sums_first) == len(sums_second) == 1
    if is_single and _is_share(first) and _is_share(second) and len(np.unique(mean_first - mean_second, axis=0)) == 1:
        # resampling equal differences tells nothing
        interval = _difference_of_wilson(first, second, num_sources, kind)
    else:
        differences = value(_draw(sums_first, resamples, seed)) - value(_draw(sums_second, resamples, seed, stream=1))
        low, high = np.percentile(differences, [2.5, 97.5])
        interval = Interval(float(low), float(high), f"paired bootstrap over {num_sources} {kind}")
    num_items = first.shape[-2]
    if np.array_equal(mean_first, mean_second):
        return Comparison(observed, interval, None, num_items)
    swaps = np.random.default_rng(seed).integers(2, size=(resamples, num_sources))
    moved = swaps @ (mean_second - mean_first)
    trials = value(mean_first.sum(axis=0) + moved) - value(mean_second.sum(axis=0) - moved)
    as_far = int((np.abs(trials) >= abs(observed) - 1e-12).sum())
    return Comparison(observed, interval, (as_far + 1) / (resamples + 1), num_items)


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
    """`(num_trainings, num_sources, num_statistics)`, and what its sources are called."""
    by_training = statistics[None] if statistics.ndim == 2 else statistics
    num_items = by_training.shape[1]
    if not num_items or num_items != len(sources):
        raise ValueError(f"One source for each item, at least one: got {num_items} items, {len(sources)} sources.")
    numbers = {source: number for number, source in enumerate(dict.fromkeys(sources))}
    sums = np.zeros((len(by_training), len(numbers), by_training.shape[2]))
    rows = [numbers[source] for source in sources]
    for total, of_one in zip(sums, by_training, strict=True):
        np.add.at(total, rows, of_one)
    return sums, "items" if len(numbers) == num_items else "sources"


def _is_share(statistics: np.ndarray) -> bool:
    """Whether each item is right or wrong."""
    return bool(
        statistics.shape[-1] == 2 and (statistics[..., 1] == 1).all() and np.isin(statistics[..., 0], (0.0, 1.0)).all()
    )


def _difference_of_wilson(first: np.ndarray, second: np.ndarray, num_sources: int, kind: str) -> Interval:
    """Of the difference of two shares, from their Wilson intervals by squaring and adding (Newcombe 1998, as if they were independent)."""
    shares = [float(statistics[..., 0].mean()) for statistics in (first, second)]
    of_first, of_second = (wilson_interval(share * num_sources, num_sources) for share in shares)
    difference = shares[0] - shares[1]
    below = math.hypot(shares[0] - of_first.low, of_second.high - shares[1])
    above = math.hypot(of_first.high - shares[0], shares[1] - of_second.low)
    return Interval(max(-1.0, difference - below), min(1.0, difference + above), f"Newcombe over {num_sources} {kind}")


def _all_equal(sums: np.ndarray) -> bool:
    shares = sums[..., 0] / sums[..., 1]
    return bool((shares == shares.flat[0]).all())


def _draw(sums: np.ndarray, resamples: int, seed: int, stream: int = 0) -> np.ndarray:
    """`(resamples, num_statistics)`: sums over as many sources as there are, drawn with replacement by `seed`, and means over trainings.

    Of `n` trainings `n - 1` are drawn, by `seed` and `stream`: drawing `n` would understate the variance of few by `(n - 1) / n`
    (Rao and Wu 1988).
    """
    num_trainings, num_sources, _ = sums.shape
    sources = np.random.default_rng(seed).multinomial(num_sources, np.full(num_sources, 1 / num_sources), resamples)
    if num_trainings == 1:
        return np.asarray(sources @ sums[0])
    weights = np.full(num_trainings, 1 / num_trainings)
    drawn = num_trainings - 1
    trainings = np.random.default_rng([seed, stream]).multinomial(drawn, weights, resamples) / drawn
    return np.einsum("rt,trk->rk", trainings, sources @ sums)
