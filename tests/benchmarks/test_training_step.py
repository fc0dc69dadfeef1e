"""What is made of the times of training steps; the trainings themselves are measured by hand."""

from types import SimpleNamespace

import pytest

from benchmarks.timing import CLOCKS
from benchmarks.training_step import StepTimes, share_padded


def test_the_first_step_of_a_turn_does_not_count_and_a_step_begins_where_the_one_before_ended(monkeypatch):
    clock = iter([10.0, 10.5, 12.5, 14.5, 16.5, 20.0])
    monkeypatch.setitem(CLOCKS, "wall", lambda: next(clock))
    times = StepTimes()
    for _ in range(2):
        times.on_step_begin(None, SimpleNamespace(global_step=0), None)
        times.on_step_end(None, SimpleNamespace(global_step=1), None)  # at 10 and 14.5
        times.on_step_begin(None, SimpleNamespace(global_step=1), None)  # at 10.5 and 16.5
        times.on_step_end(None, SimpleNamespace(global_step=2), None)  # at 12.5 and 20
    assert times.seconds == [2.5, 5.5]
    assert times.share_waited == pytest.approx((0.5 / 2.5 + 2.0 / 5.5) / 2)


def test_batches_of_one_length_hold_no_padding():
    assert share_padded([1.0, 3.0, 1.0, 3.0], 2, "group_by_length") == 0
    assert share_padded([1.0, 3.0], 2, "random") == pytest.approx(1 / 3)
