"""Intervals, on numbers from tables and by hand."""

import numpy as np
import pytest

from student.ablations.statistics import paired_bootstrap, t_interval


def test_t_interval_of_three_values():
    # mean 2, standard deviation 1, quantile 4.3027 of two degrees of freedom: 2 -+ 4.3027 / sqrt(3)
    assert t_interval([1.0, 2.0, 3.0]) == pytest.approx((2 - 2.4842, 2 + 2.4842), abs=1e-4)


def test_one_value_has_no_interval():
    assert t_interval([1.0]) is None


def test_many_values_take_the_quantile_of_eleven():
    values = [0.0, 1.0] * 10
    low, high = t_interval(values)
    assert (high - low) / 2 == pytest.approx(2.2281 * np.std(values, ddof=1) / np.sqrt(20))


def test_bootstrap_of_one_seed_has_the_spread_of_its_clips():
    differences = np.array([[1.0] * 25 + [0.0] * 75])
    low, high = paired_bootstrap(differences)
    # the standard error of a share of 0.25 of 100
    assert low == pytest.approx(0.25 - 1.96 * 0.0433, abs=0.02)
    assert high == pytest.approx(0.25 + 1.96 * 0.0433, abs=0.02)


def test_seeds_that_disagree_widen_the_interval():
    agreeing = np.tile([[1.0, 0.0, 1.0, 0.0] * 25], (3, 1))
    disagreeing = np.stack([np.ones(100), np.full(100, 0.5), np.zeros(100)])
    low, high = paired_bootstrap(agreeing)
    assert low > 0.35
    assert high < 0.65
    low, high = paired_bootstrap(disagreeing)
    assert low < 0.1
    assert high > 0.9


def test_no_difference_is_an_interval_of_no_width():
    assert paired_bootstrap(np.zeros((3, 10))) == (0.0, 0.0)
