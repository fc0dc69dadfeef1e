"""Comparisons at equal steps and at equal time, on numbers made by hand."""

import pytest

from student.ablations.comparison import compare
from tests.student.ablations.support import made_up_run


def runs(name, marks, cross_entropies, seconds_per_step=1.0, seeds=(0, 1, 2)):
    """Runs of several seeds, each a little better than the last."""
    return {
        seed: made_up_run(name, seed, marks, seconds_per_step, tuple(loss - 0.01 * seed for loss in cross_entropies))
        for seed in seeds
    }


WRONG, HALF, RIGHT = [False] * 40, [True, False] * 20, [True] * 40


def test_equal_steps_and_equal_time_can_decide_differently():
    slow = runs("slow", [WRONG, HALF, RIGHT], (3.0, 2.0, 1.0), seconds_per_step=2.0)
    fast = runs("fast", [WRONG, WRONG, HALF], (3.0, 2.2, 1.4))
    by_steps = compare("slow", "fast", slow, fast, "step")
    assert by_steps.at == 30
    assert by_steps.acceptance["synthetic"].value == pytest.approx(0.5)
    assert by_steps.acceptance["synthetic"].verdict == "better"
    assert by_steps.cross_entropy.value == pytest.approx(-0.4)
    assert by_steps.cross_entropy.verdict == "better"
    # After 30 s the fast one is done; the slow one is between its scorings of 20 s (step 10) and 40 s (step 20).
    by_time = compare("slow", "fast", slow, fast, "train_seconds")
    assert by_time.at == 30
    assert by_time.acceptance["synthetic"].value == pytest.approx(0.25 - 0.5)
    assert by_time.acceptance["synthetic"].verdict == "worse"
    assert by_time.cross_entropy.value == pytest.approx(2.5 - 1.4)
    assert by_time.cross_entropy.verdict == "worse"


def test_what_does_not_differ_is_undecided():
    same = runs("a", [RIGHT], (3.0, 2.0, 1.0))
    comparison = compare("a", "b", same, same, "step")
    assert comparison.acceptance["synthetic"].verdict == "undecided"
    assert comparison.cross_entropy.verdict == "undecided"


def test_only_shared_seeds_count_and_one_seed_does_not_decide_the_cross_entropy():
    own = runs("a", [RIGHT], (3.0, 2.0, 1.0), seeds=(0, 1))
    others = runs("b", [WRONG], (3.0, 2.0, 1.9), seeds=(1, 2))
    comparison = compare("a", "b", own, others, "step")
    assert comparison.acceptance["synthetic"].num_seeds == 1
    assert comparison.acceptance["synthetic"].verdict == "better"
    assert comparison.cross_entropy.interval is None
    assert comparison.cross_entropy.verdict == "undecided"
    assert compare("a", "b", own, runs("b", [WRONG], (3.0, 2.0, 1.0), seeds=(5,)), "step") is None


def test_a_run_that_was_not_scored_by_then_is_not_read():
    slow = runs("slow", [WRONG, HALF, RIGHT], (3.0, 2.0, 1.0), seconds_per_step=4.0)
    fast = runs("fast", [HALF], (3.0, 2.0, 1.0))
    comparison = compare("slow", "fast", slow, fast, "train_seconds")
    assert comparison.acceptance == {}
    assert comparison.cross_entropy is None


def test_other_clips_are_an_error():
    own, others = runs("a", [RIGHT], (3, 2, 1)), runs("b", [RIGHT[:-1]], (3, 2, 1))
    with pytest.raises(ValueError, match="were scored on other synthetic clips"):
        compare("a", "b", own, others, "step")
