import numpy as np
import pytest

from transformers_aura.decoding.segmentation import LONGEST_WHOLE, SHORTEST_CHUNK, cut_at_pauses, is_pause


def pauses(*parts):
    """Frames of speech and of pauses in turn."""
    return np.concatenate([np.full(length, bool(number % 2)) for number, length in enumerate(parts)])


def test_a_pause_is_where_no_character_is_likeliest():
    assert is_pause(np.eye(4)[[0, 1, 2, 3, 1]]).tolist() == [True, True, False, False, True]


def test_no_cut_up_to_one_and_a_half_chunks():
    assert cut_at_pauses(pauses(75, 50, 25), 100) == []
    assert cut_at_pauses(pauses(76, 10, 65), 100) == [81]
    assert cut_at_pauses(np.zeros(0, bool), 100) == []


def test_the_longest_pause_is_cut_in_its_middle_and_of_several_the_last():
    assert cut_at_pauses(pauses(30, 4, 20, 10, 20, 6, 61), 100) == [59]
    assert cut_at_pauses(pauses(30, 10, 20, 10, 85), 100) == [65]


def test_without_a_pause_a_chunk_is_as_long_as_it_may_be():
    assert cut_at_pauses(np.zeros(250, bool), 100) == [100, 200]


@pytest.mark.parametrize("longest", [10, 40, 300])
def test_chunks_are_neither_too_long_nor_too_short(longest):
    for seed in range(30):
        generator = np.random.default_rng(seed)
        pause = pauses(*generator.integers(1, 30, size=generator.integers(2, 60)))
        cuts = cut_at_pauses(pause, longest)
        lengths = np.diff([0, *cuts, len(pause)])
        assert not cuts or lengths.max() <= longest
        assert bool(cuts) == (len(pause) > LONGEST_WHOLE * longest)
        assert not cuts or lengths.min() >= round(SHORTEST_CHUNK * longest)
