"""Against the sum over all paths, one by one."""

import itertools

import numpy as np
import pytest

from tests.decoding.support import all_paths, collapse, labelling_log_probabilities, random_emissions
from transformers_aura.decoding.ctc import PrefixForward, align, greedy_labelling


SEEDS = range(5)


@pytest.mark.parametrize("seed", SEEDS)
def test_greedy_is_the_labelling_of_the_likeliest_path(seed):
    emissions = random_emissions(7, 2, seed)
    path, _ = max(all_paths(emissions), key=lambda item: item[1])
    assert greedy_labelling(emissions) == list(collapse(path))


def test_greedy_by_example():
    assert greedy_labelling(np.log(np.eye(4)[[0, 1, 1, 0, 1, 2, 2, 3, 0]] + 1e-9)) == [1, 1, 2, 3]
    assert greedy_labelling(np.log(np.eye(4)[[0, 0]] + 1e-9)) == []


@pytest.mark.parametrize("seed", SEEDS)
def test_spans_are_those_of_the_likeliest_path(seed):
    emissions = random_emissions(6, 2, seed)
    by_labelling = {}
    for path, score in all_paths(emissions):
        best = by_labelling.get(collapse(path))
        if best is None or score > best[1]:
            by_labelling[collapse(path)] = path, score
    for labelling, (path, _) in by_labelling.items():
        spans, frame = [], 0
        for symbol, run in itertools.groupby(path):
            length = len(list(run))
            if symbol:
                spans.append((frame, frame + length))
            frame += length
        assert align(emissions, labelling) == spans, labelling


def test_too_few_frames():
    emissions = random_emissions(3, 2)
    assert align(emissions, []) == []
    assert len(align(emissions, [1, 2, 1])) == 3
    with pytest.raises(ValueError, match="2 frames cannot hold 2 symbols, which need 3"):  # a blank between
        align(emissions[:2], [1, 1])
    with pytest.raises(ValueError, match="2 frames cannot hold 3 symbols, which need 3"):
        align(emissions[:2], [1, 2, 1])


@pytest.mark.parametrize("seed", SEEDS)
def test_prefixes_say_what_the_sum_over_all_paths_says(seed):
    frames, symbols = 5, 2
    emissions = random_emissions(frames, symbols, seed)
    forward = PrefixForward(emissions)
    likeliest = np.cumsum(emissions.max(axis=1))
    whole = labelling_log_probabilities(emissions)
    up_to = [labelling_log_probabilities(emissions[: frame + 1]) for frame in range(frames)]
    level = {(): forward.empty()}
    assert forward.score_whole(level[()]) == pytest.approx(whole[()] - likeliest[-1])
    for _ in range(frames):
        jobs = [(labelling, symbol) for labelling in level for symbol in range(1, 1 + symbols)]
        extended = forward.extend(
            [level[labelling] for labelling, _ in jobs], np.array([symbol for _, symbol in jobs])
        )
        level = {(*labelling, symbol): prefix for (labelling, symbol), prefix in zip(jobs, extended, strict=True)}
        for labelling, prefix in level.items():
            assert prefix.last == labelling[-1]
            by_frame = np.array([of_frame.get(labelling, -np.inf) for of_frame in up_to])
            found = np.logaddexp(prefix.on_symbol, prefix.on_blank)
            possible = np.isfinite(by_frame)
            np.testing.assert_allclose(found[possible], by_frame[possible], atol=1e-9)
            assert (found[~possible] < -1e9).all()
            if labelling in whole:
                assert prefix.score == pytest.approx((by_frame - likeliest)[possible].max())
                assert forward.score_whole(prefix) == pytest.approx(whole[labelling] - likeliest[-1])
            else:
                assert prefix.score < -1e9


def test_prefixes_of_float32_emissions_of_a_long_recording():
    emissions = random_emissions(500, 30).astype(np.float32)
    forward = PrefixForward(emissions)
    prefix = forward.empty()
    for symbol in greedy_labelling(emissions):
        (prefix,) = forward.extend([prefix], np.array([symbol]))
    assert -200 < forward.score_whole(prefix) < 600
    assert np.isfinite(prefix.score)
