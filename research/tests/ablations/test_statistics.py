"""Intervals, on numbers from tables and by hand."""

import numpy as np
import pytest

from aura_research.ablations.statistics import clip_variance, pooled_spread, t_interval


def test_t_interval_of_three_values():
    # mean 2, standard deviation 1, quantile 4.3027 of two degrees of freedom: 2 -+ 4.3027 / sqrt(3)
    assert t_interval([1.0, 2.0, 3.0]) == pytest.approx((2 - 2.4842, 2 + 2.4842), abs=1e-4)


def test_one_value_has_no_interval():
    assert t_interval([1.0]) is None


def test_degrees_of_freedom_between_two_of_the_table_take_the_fewer():
    values = [0.0, 1.0] * 9  # 17 degrees: the quantile of 15
    low, high = t_interval(values)
    assert (high - low) / 2 == pytest.approx(2.1314 * np.std(values, ddof=1) / np.sqrt(18))


def test_the_pooled_spread_is_that_inside_the_samples():
    assert pooled_spread([[1.0], []]) is None
    pooled = pooled_spread([[0.0, 2.0], [10.0, 11.0, 12.0], [99.0]])
    assert pooled.degrees == 3
    assert pooled.deviation == pytest.approx(np.sqrt((2 + 2) / 3))
    half = 3.1824 * pooled.deviation / np.sqrt(2)
    assert t_interval([4.0, 6.0], pooled) == pytest.approx((5 - half, 5 + half))
    assert t_interval([5.0], pooled) is None


def test_the_variance_of_the_clips_is_that_of_what_they_have_in_common():
    # the squared standard error of a share of 0.25 of 100, with n - 1
    assert clip_variance(np.array([[1.0] * 25 + [0.0] * 75] * 3)) == pytest.approx(0.25 * 0.75 / 99)
    # seeds that disagree clip by clip, and agree on the whole
    assert clip_variance(np.array([[1.0, 0.0] * 50, [0.0, 1.0] * 50])) == 0
    assert clip_variance(np.zeros((3, 1))) == 0


def test_what_is_the_same_for_all_values_widens_the_interval():
    low, high = t_interval([1.0, 2.0, 3.0], other_variance=1.0)
    assert (high - low) / 2 == pytest.approx(4.3027 * np.sqrt(1 / 3 + 1))
