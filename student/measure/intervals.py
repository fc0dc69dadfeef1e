"""Confidence intervals of shares and of ratios of sums."""

import math
from collections.abc import Sequence

import numpy as np


def wilson_interval(right: int, total: int) -> tuple[float, float]:
    """The 95 % confidence interval of a share of `right` in `total` independent cases (Wilson 1927)."""
    z = 1.959964
    share = right / total
    middle = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    return max(0.0, middle - half), min(1.0, middle + half)


def bootstrap_interval(
    numerators: Sequence[float], denominators: Sequence[float], resamples: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """The 95 % percentile interval of `sum(numerators) / sum(denominators)` under resampling with replacement.

    Args:
        numerators, denominators: of each independent unit: an utterance's word errors and words, or a clip's right answers and trials.
        resamples: how many samples of as many units are drawn.
        seed: of the draws.

    Raises:
        ValueError: the sequences differ in length or are empty.
    """
    if len(numerators) != len(denominators) or not numerators:
        raise ValueError(
            f"As many numerators as denominators, at least one: got {len(numerators)} and {len(denominators)}."
        )
    drawn = np.random.default_rng(seed).integers(len(numerators), size=(resamples, len(numerators)))
    ratios = np.asarray(numerators, float)[drawn].sum(axis=1) / np.asarray(denominators, float)[drawn].sum(axis=1)
    low, high = np.percentile(ratios, [2.5, 97.5])
    return float(low), float(high)
