import numpy as np
import pytest

from transformers_aura.distillation.rows import LengthGroupedBatches, NumberedRows


class Clips:
    """A dataset that knows how long its clips are."""

    def __init__(self, seconds):
        self.seconds = seconds

    def __len__(self):
        return len(self.seconds)

    def __getitem__(self, index):
        return {"audio": index}


def test_steps_hold_clips_of_about_the_same_length_in_random_order():
    seconds = np.random.default_rng(0).uniform(1, 10, size=1003)
    rows = NumberedRows(Clips(seconds), seed=3)
    order = list(LengthGroupedBatches(rows, step_size=8))
    assert sorted(order) == list(range(1003))
    steps = [seconds[order[start : start + 8]] for start in range(0, 1000, 8)]
    assert np.mean([step.max() - step.min() for step in steps]) < 0.5
    # Neither ascending nor descending over the epoch.
    means = np.array([step.mean() for step in steps])
    assert abs(np.corrcoef(means, np.arange(len(means)))[0, 1]) < 0.3
    assert order == list(LengthGroupedBatches(rows, step_size=8))
    rows.set_epoch(1)
    assert order != list(LengthGroupedBatches(rows, step_size=8))


def test_rows_without_lengths_are_an_error():
    with pytest.raises(ValueError, match="needs the length of every clip"):
        LengthGroupedBatches(NumberedRows([{"audio": 1}], seed=0), step_size=1)
