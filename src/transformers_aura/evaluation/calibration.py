"""Whether a system knows when it is wrong: what it says of its confidence, beside how often it is right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .figures import ScoredRun
from .statistics import NUM_RESAMPLES


NUM_BINS = 10
FEWEST_ITEMS = 20
"""A curve of fewer items is noise."""


@dataclass(frozen=True)
class CalibrationBin:
    """Answers of about the same confidence: how many, how sure on average, and how many of them were right (a share)."""

    num_items: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Calibration:
    """Of one system on one benchmark.

    Attributes:
        expected_error: expected calibration error (Naeini et al. 2015, Guo et al. 2017): the mean over answers of the distance between
            confidence and accuracy in the bin of the answer.
        interval: of it, 95 %, percentile bootstrap over items. Bins of few items are off by chance, so it is never quite 0.
        separation: how often a right answer was given with more confidence than a wrong one (area under the ROC curve), `None`
            where all or none are right.
        bins: with about the same number of answers each, from unsure to sure.
    """

    system: str
    benchmark: str
    condition: str
    scorer: str
    num_items: int
    expected_error: float
    interval: tuple[float, float]
    separation: float | None
    bins: tuple[CalibrationBin, ...]


def calibration_of(run: ScoredRun, seed: int = 0) -> Calibration | None:
    """The calibration of a run whose items are right or wrong; `None` where the system does not say how sure it was, or of too few items."""
    known = [index for index, item in enumerate(run.items) if item.confidence is not None]
    if not run.scorer.is_share or not run.scorer.higher_is_better or len(known) < FEWEST_ITEMS:
        return None
    confidence = np.array([run.items[index].confidence for index in known], dtype=np.float64)
    right = run.is_right()[known]
    generator = np.random.default_rng(seed)
    drawn = generator.integers(len(known), size=(NUM_RESAMPLES, len(known)))
    errors = [_expected_error(calibration_bins(confidence[rows], right[rows])) for rows in drawn]
    low, high = np.percentile(errors, [2.5, 97.5])
    bins = calibration_bins(confidence, right)
    return Calibration(
        run.system,
        run.benchmark,
        run.condition,
        run.scorer.name,
        len(known),
        _expected_error(bins),
        (float(low), float(high)),
        separation(confidence, right),
        bins,
    )


def calibration_bins(
    confidence: np.ndarray, right: np.ndarray, num_bins: int = NUM_BINS
) -> tuple[CalibrationBin, ...]:
    """Bins of about the same number of answers.

    Args:
        confidence: `(num_items,)`, from 0 to 1.
        right: `(num_items,)`, boolean.
    """
    order = np.argsort(confidence, kind="stable")
    return tuple(
        CalibrationBin(len(part), float(confidence[part].mean()), float(right[part].mean()))
        for part in np.array_split(order, num_bins)
        if len(part)
    )


def separation(confidence: np.ndarray, right: np.ndarray) -> float | None:
    """Area under the ROC curve, ties counted half."""
    if right.all() or not right.any():
        return None
    of_right, of_wrong = confidence[right][:, None], confidence[~right][None]
    return float(((of_right > of_wrong) + 0.5 * (of_right == of_wrong)).mean())


def _expected_error(bins: Sequence[CalibrationBin]) -> float:
    total = sum(part.num_items for part in bins)
    return sum(part.num_items * abs(part.confidence - part.accuracy) for part in bins) / total
