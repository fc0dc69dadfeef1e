"""Intervals over seeds and clips."""

import math
import statistics
from collections.abc import Sequence

import numpy as np


# 97.5 % quantiles of Student's t distribution with 1, 2, ... degrees of freedom.
_T_QUANTILES = (12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281)


def t_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """The 95 % interval of the mean of independent values, such as one a seed; `None` of less than two.

    Beyond eleven values the quantile of eleven is used, which is a little too wide.
    """
    if len(values) < 2:
        return None
    quantile = _T_QUANTILES[min(len(values) - 1, len(_T_QUANTILES)) - 1]
    half = quantile * statistics.stdev(values) / math.sqrt(len(values))
    mean = statistics.fmean(values)
    return mean - half, mean + half


def paired_bootstrap(differences: np.ndarray, resamples: int = 2000, seed: int = 0) -> tuple[float, float]:
    """The 95 % percentile interval of the mean of paired differences, under resampling of seeds and of clips.

    All seeds are scored on the same clips, so each resample draws seeds, then clips that all of them share: a hard clip is hard for every
    seed.

    Args:
        differences: `(n_seeds, n_clips)`, of one arm's marks to another's on the same clips from the same seeds.
    """
    num_seeds, num_clips = differences.shape
    generator = np.random.default_rng(seed)
    means = np.empty(resamples)
    for index in range(resamples):
        seeds = generator.integers(num_seeds, size=num_seeds)
        clips = generator.integers(num_clips, size=num_clips)
        means[index] = differences[np.ix_(seeds, clips)].mean()
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)
