import numpy as np
import pytest

from transformers_aura.evaluation.statistics import compare, holm, interval_of, wilson_interval


def ratio(sums):
    return sums[..., 0] / sums[..., 1]


def marks(values):
    return np.array([(value, 1.0) for value in values])


def test_wilson_equals_the_published_example():
    # Newcombe 1998, Statistics in Medicine 17, table I: 81 of 263 by method 3.
    interval = wilson_interval(81, 263)
    assert (round(interval.low, 4), round(interval.high, 4)) == (0.2553, 0.3662)


def test_a_share_of_independent_items_gets_wilsons_interval():
    statistics = marks([1] * 30 + [0] * 10)
    interval = interval_of(statistics, ratio, range(40))
    assert interval == wilson_interval(30, 40)


def test_items_of_one_source_are_drawn_together():
    # Four questions in ten accents each, all accents of a question alike: four independent trials, not forty.
    statistics = marks([right for right in (1, 0, 1, 0) for _ in range(10)])
    sources = [number // 10 for number in range(40)]
    together = interval_of(statistics, ratio, sources)
    apart = interval_of(statistics, ratio, range(40))
    assert together.method == "bootstrap over 4 sources"
    assert together.high - together.low > 2 * (apart.high - apart.low)


def test_sources_that_are_all_right_are_no_proof():
    interval = interval_of(marks([1] * 20), ratio, [number // 5 for number in range(20)])
    assert interval.high == pytest.approx(1.0)
    assert interval.low == wilson_interval(4, 4).low


@pytest.mark.parametrize("seed", range(3))
def test_the_bootstrap_covers_a_known_error_rate(seed):
    generator = np.random.default_rng(seed)
    covered = 0
    for trial in range(100):
        words = generator.integers(3, 20, size=60)
        errors = generator.binomial(words, 0.2)
        interval = interval_of(np.stack([errors, words], axis=1).astype(float), ratio, range(60), 500, seed=trial)
        covered += interval.low <= 0.2 <= interval.high
    assert covered >= 85


def test_a_paired_test_sees_what_two_intervals_do_not():
    generator = np.random.default_rng(7)  # not the seed of the trials, whose draws would be the same
    first = generator.integers(2, size=300)
    second = first.copy()
    second[np.flatnonzero(first == 0)[:20]] = 1  # the second is right wherever the first is, and on 20 more
    found = compare(marks(second), marks(first), ratio, range(300))
    assert found.difference == pytest.approx(20 / 300)
    assert found.interval.low > 0
    assert found.p_value == pytest.approx(1 / 2001)
    high_of_first, low_of_second = (interval_of(marks(x), ratio, range(300)) for x in (first, second))
    assert high_of_first.high > low_of_second.low, "the two intervals overlap"


def test_systems_that_differ_by_chance_are_not_told_apart():
    generator = np.random.default_rng(1)
    p_values = [
        compare(
            marks(generator.integers(2, size=80)), marks(generator.integers(2, size=80)), ratio, range(80), 400
        ).p_value
        for _ in range(100)
    ]
    assert 0 <= sum(p <= 0.05 for p in p_values) <= 12
    assert np.median(p_values) > 0.25


def test_swapping_the_systems_turns_the_sign_and_nothing_else():
    generator = np.random.default_rng(2)
    first, second = (marks(generator.integers(2, size=50)) for _ in range(2))
    there, back = compare(first, second, ratio, range(50)), compare(second, first, ratio, range(50))
    assert there.difference == -back.difference
    assert there.p_value == back.p_value
    assert (there.interval.low, there.interval.high) == pytest.approx((-back.interval.high, -back.interval.low))


def test_ten_of_ten_against_none_is_not_beyond_doubt():
    found = compare(marks([1] * 10), marks([0] * 10), ratio, range(10))
    # Newcombe: Wilson gives 0.7225 to 1 and 0 to 0.2775, so 1 - sqrt(2) * 0.2775.
    assert (found.difference, found.interval.high) == (1.0, 1.0)
    assert found.interval.low == pytest.approx(0.6075, abs=1e-4)
    assert found.p_value < 0.01


def test_trainings_that_differ_make_an_interval_wide_however_many_items_there_are():
    generator = np.random.default_rng(0)
    trainings = np.stack([marks(generator.random(2000) < rate) for rate in (0.3, 0.5, 0.7)])
    interval = interval_of(trainings, ratio, range(2000))
    assert interval.method == "bootstrap over 3 trainings and 2000 items"
    assert interval.low < 0.35
    assert interval.high > 0.65
    alike = interval_of(np.stack([trainings[1]] * 3), ratio, range(2000))
    alone = interval_of(trainings[1], ratio, range(2000))
    assert alike.high - alike.low == pytest.approx(alone.high - alone.low, rel=0.1)


def test_the_interval_of_trainings_covers_how_they_come_out_on_average():
    generator = np.random.default_rng(3)
    covered = 0
    for trial in range(200):
        rates = np.clip(generator.normal(0.5, 0.1, size=4), 0, 1)
        trainings = np.stack([marks(generator.random(60) < rate) for rate in rates])
        interval = interval_of(trainings, ratio, range(60), 300, seed=trial)
        covered += interval.low <= 0.5 <= interval.high
    assert covered >= 170


def test_a_system_of_several_trainings_beside_one_of_one():
    generator = np.random.default_rng(5)
    trainings = np.stack([marks(generator.random(200) < rate) for rate in (0.6, 0.65, 0.7)])
    other = marks(generator.random(200) < 0.2)
    found = compare(trainings, other, ratio, range(200))
    turned = compare(other, trainings, ratio, range(200))
    assert found.difference == pytest.approx(trainings[..., 0].mean() - other[:, 0].mean())
    assert found.interval.low > 0.25
    assert found.p_value == turned.p_value == pytest.approx(1 / 2001)
    assert turned.difference == pytest.approx(-found.difference)
    assert found.num_items == 200


def test_equal_systems_have_no_p_value():
    assert compare(marks([1, 0]), marks([1, 0]), ratio, range(2)).p_value is None


def test_holm_equals_the_hand_computed_numbers():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_errors_for_people():
    with pytest.raises(ValueError, match="no items has no interval"):
        wilson_interval(0, 0)
    with pytest.raises(ValueError, match="got 0 items, 0 sources"):
        interval_of(np.zeros((0, 2)), ratio, [])
    with pytest.raises(ValueError, match="same items of both systems, got 2 and 3"):
        compare(marks([1, 0]), marks([1, 0, 1]), ratio, range(2))
