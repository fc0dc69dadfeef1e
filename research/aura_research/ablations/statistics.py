"""Intervals over seeds and clips."""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np


# 97.5 % quantiles of Student's t distribution, by degrees of freedom.
_T_QUANTILES = {
    1: 12.7062, 2: 4.3027, 3: 3.1824, 4: 2.7764, 5: 2.5706, 6: 2.4469, 7: 2.3646, 8: 2.3060, 9: 2.2622, 10: 2.2281,
    12: 2.1788, 15: 2.1314, 20: 2.0860, 30: 2.0423, 60: 2.0003, 120: 1.9799,
}  # fmt: skip


@dataclass(frozen=True)
class Spread:
    """A standard deviation, and from how many degrees of freedom it is known."""

    deviation: float
    degrees: int


def pooled_spread(samples: Iterable[Sequence[float]]) -> Spread | None:
    """The standard deviation inside several samples of which each has its own mean, as in an analysis of variance.

    `None` where no sample holds two values.
    """
    squares, degrees = 0.0, 0
    for sample in samples:
        if len(sample) > 1:
            squares += statistics.variance(sample) * (len(sample) - 1)
            degrees += len(sample) - 1
    return Spread(math.sqrt(squares / degrees), degrees) if degrees else None


def t_interval(
    values: Sequence[float], spread: Spread | None = None, other_variance: float = 0.0
) -> tuple[float, float] | None:
    """The 95 % interval of the mean of independent values, such as one a seed.

    Degrees of freedom that the table lacks take the quantile of the next fewer, which is a little too wide.

    Args:
        values: `n` numbers.
        spread: of their kind, where more is known of it than they tell; `None` = their own.
        other_variance: of the mean, from what is the same for all values.

    Returns:
        `None` of a single value: it may be far from the next.
    """
    spread = spread or pooled_spread([values])
    if spread is None or len(values) < 2:
        return None
    quantile = _T_QUANTILES[max(degrees for degrees in _T_QUANTILES if degrees <= spread.degrees)]
    half = quantile * math.sqrt(spread.deviation**2 / len(values) + other_variance)
    mean = statistics.fmean(values)
    return mean - half, mean + half


def clip_variance(differences: np.ndarray) -> float:
    """What the choice of the clips adds to the variance of the mean of paired differences.

    All seeds are scored on the same clips, and a hard clip is hard for every seed, so more seeds do not lessen it.

    Args:
        differences: `(n_seeds, n_clips)`, of one arm's marks to another's on the same clips from the same seeds.
    """
    of_clips = differences.mean(axis=0)
    return float(of_clips.var(ddof=1) / len(of_clips)) if len(of_clips) > 1 else 0.0
