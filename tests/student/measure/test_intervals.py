"""Confidence intervals, against published values and sure cases."""

import pytest

from student.measure.intervals import bootstrap_interval, wilson_interval


def test_wilson_interval_equals_published_values():
    # Newcombe 1998 (Statistics in Medicine 17:857), table I: 81 of 263, 15 of 148, 0 of 20.
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson_interval(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert wilson_interval(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)


def test_bootstrap_of_equal_units_has_no_width():
    assert bootstrap_interval([1, 1, 1], [4, 4, 4]) == (0.25, 0.25)


def test_bootstrap_is_near_the_normal_interval_and_repeatable():
    marks = [1] * 60 + [0] * 40
    found = bootstrap_interval(marks, [1] * 100, resamples=4000)
    assert found == pytest.approx((0.504, 0.696), abs=0.02)
    assert found == bootstrap_interval(marks, [1] * 100, resamples=4000)


def test_bootstrap_weighs_units_by_their_size():
    low, high = bootstrap_interval([0, 10], [1, 10])
    assert (low, high) == (0.0, 1.0)


def test_bootstrap_refuses_unequal_and_no_units():
    with pytest.raises(ValueError, match="got 1 and 2"):
        bootstrap_interval([1], [1, 2])
    with pytest.raises(ValueError, match="got 0 and 0"):
        bootstrap_interval([], [])
