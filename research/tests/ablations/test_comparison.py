"""Comparisons at equal steps and at equal time, on numbers made by hand."""

import numpy as np
import pytest

from aura_research.ablations.comparison import compare, pair
from aura_research.ablations.results import COSINE, CROSS_ENTROPY, CTC
from research.tests.ablations.support import made_up_run


def runs(name, marks, cross_entropies, seconds_per_step=1.0, seeds=(0, 1, 2)):
    """Runs of several seeds, each a little better than the last."""
    return {
        seed: made_up_run(name, seed, marks, seconds_per_step, tuple(loss - 0.01 * seed for loss in cross_entropies))
        for seed in seeds
    }


def compare_one(own, others, axis):
    return compare([pair("own", "others", own, others, axis)])[0]


WRONG, HALF, RIGHT = [False] * 40, [True, False] * 20, [True] * 40


def test_equal_steps_and_equal_time_can_decide_differently():
    slow = runs("slow", [WRONG, HALF, RIGHT], (3.0, 2.0, 1.0), seconds_per_step=2.0)
    fast = runs("fast", [WRONG, WRONG, HALF], (3.0, 2.2, 1.4))
    by_steps = compare_one(slow, fast, "step")
    assert by_steps.pairs.at == 30
    assert by_steps.acceptance["synthetic"].value == pytest.approx(0.5)
    assert by_steps.acceptance["synthetic"].verdict == "better"
    assert np.exp(by_steps.logged[CROSS_ENTROPY].value) == pytest.approx(0.99 / 1.39, abs=1e-4)
    assert by_steps.logged[CROSS_ENTROPY].verdict == "better"
    # After 30 s the fast one is done; the slow one is between its scorings of 20 s (step 10) and 40 s (step 20).
    by_time = compare_one(slow, fast, "train_seconds")
    assert by_time.pairs.at == 30
    assert by_time.acceptance["synthetic"].value == pytest.approx(0.25 - 0.5)
    assert by_time.acceptance["synthetic"].verdict == "worse"
    assert np.exp(by_time.logged[CROSS_ENTROPY].value) == pytest.approx(2.49 / 1.39, abs=1e-4)
    assert by_time.logged[CROSS_ENTROPY].verdict == "worse"


def test_what_does_not_differ_is_undecided():
    same = runs("a", [RIGHT], (3.0, 2.0, 1.0))
    comparison = compare_one(same, same, "step")
    assert comparison.acceptance["synthetic"].verdict == "undecided"
    assert comparison.logged[CROSS_ENTROPY].verdict == "undecided"


def test_only_shared_seeds_count_and_one_seed_decides_nothing():
    own = runs("a", [RIGHT], (3.0, 2.0, 1.0), seeds=(0, 1))
    others = runs("b", [WRONG], (3.0, 2.0, 1.9), seeds=(1, 2))
    comparison = compare_one(own, others, "step")
    assert comparison.acceptance["synthetic"].num_seeds == 1
    assert comparison.acceptance["synthetic"].value == 1
    assert comparison.acceptance["synthetic"].verdict == "undecided"
    assert comparison.logged[CROSS_ENTROPY].interval is None
    assert comparison.logged[CROSS_ENTROPY].verdict == "undecided"
    assert pair("a", "b", own, runs("b", [WRONG], (3.0, 2.0, 1.0), seeds=(5,)), "step") is None


def test_the_seconds_of_another_machine_are_not_compared():
    own = {seed: made_up_run("a", seed, [RIGHT], machine=f"machine {seed}") for seed in (0, 1)}
    others = {seed: made_up_run("b", seed, [RIGHT], machine="machine 1") for seed in (0, 1)}
    assert len(pair("a", "b", own, others, "step").of_seeds("synthetic")) == 2
    assert len(pair("a", "b", own, others, "train_seconds").of_seeds("synthetic")) == 1
    assert pair("a", "b", {0: own[0]}, others, "train_seconds") is None


def test_a_run_that_was_not_scored_by_then_is_not_read():
    slow = runs("slow", [WRONG, HALF, RIGHT], (3.0, 2.0, 1.0), seconds_per_step=4.0)
    fast = runs("fast", [HALF], (3.0, 2.0, 1.0))
    comparison = compare_one(slow, fast, "train_seconds")
    assert comparison.acceptance == {}
    assert comparison.logged == {}


def test_a_higher_cosine_and_a_lower_ctc_loss_are_better():
    own, others = runs("a", [RIGHT], (3, 2, 1)), runs("b", [RIGHT], (3, 2, 1))
    for entry in (entry for run in own.values() for entry in run.log):
        entry.update({COSINE: 0.5 + 0.01 * entry["step"], CTC: 1.0})
    for entry in (entry for run in others.values() for entry in run.log):
        entry.update({COSINE: 0.5, CTC: 0.9})
    logged = compare_one(own, others, "step").logged
    assert (logged[COSINE].verdict, logged[COSINE].value) == ("better", pytest.approx(0.3))
    assert (logged[CTC].verdict, logged[CTC].value) == ("worse", pytest.approx(np.log(1.0 / 0.9)))


@pytest.mark.parametrize("setting", ["teacher.model=openai/whisper-base", "losses.layer_mapping=last"])
def test_the_cosine_to_other_states_is_not_compared(setting):
    own = {0: made_up_run("a", 0, [RIGHT], settings=[setting, "model.lora_rank=2"])}
    assert COSINE not in pair("a", "b", own, runs("b", [RIGHT], (3, 2, 1)), "step").logged
    own = {0: made_up_run("a", 0, [RIGHT], settings=["model.lora_rank=2"])}
    assert COSINE in pair("a", "b", own, runs("b", [RIGHT], (3, 2, 1)), "step").logged


def test_the_spread_between_seeds_is_pooled_over_the_arms():
    others = {seed: made_up_run("b", seed, [RIGHT]) for seed in (0, 1)}
    spread = {seed: made_up_run("a", seed, [RIGHT], 1.0, (3, 2, np.exp(0.10 + 0.02 * seed))) for seed in (0, 1)}
    even = {seed: made_up_run("c", seed, [RIGHT], 1.0, (3, 2, np.exp(0.10))) for seed in (0, 1)}
    alone = compare_one(even, others, "step").logged[CROSS_ENTROPY]
    assert alone.interval == pytest.approx((0.1, 0.1))
    together = compare([pair(name, "b", own, others, "step") for name, own in (("a", spread), ("c", even))])
    # logs of 0.10 and 0.12, and of 0.10 twice: a variance of (0.0002 + 0) / 2, quantile 4.3027 of two degrees of freedom
    assert together[1].logged[CROSS_ENTROPY].interval == pytest.approx((0.1 - 0.030425, 0.1 + 0.030425), abs=1e-5)


def test_other_clips_are_an_error():
    own, others = runs("a", [RIGHT], (3, 2, 1)), runs("b", [RIGHT[:-1]], (3, 2, 1))
    with pytest.raises(ValueError, match="were scored on other synthetic clips"):
        compare_one(own, others, "step")
