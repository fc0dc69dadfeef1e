import numpy as np
import pytest

from transformers_aura.decoding.alphabet import GAP, LATIN_ALPHABET, CharacterAlphabet
from transformers_aura.decoding.speech_detection import contains_speech


SYMBOLS = CharacterAlphabet(LATIN_ALPHABET)


def emissions(path, probability=0.99):
    """Log-probabilities of a path of characters, a frame each: `_` is the blank."""
    symbols = [0 if character == "_" else SYMBOLS.symbol(character) for character in path]
    rest = (1 - probability) / (len(SYMBOLS) - 1)
    table = np.full((len(path), len(SYMBOLS)), rest, dtype=np.float32)
    table[np.arange(len(path)), symbols] = probability
    return np.log(table)


def test_sure_characters_in_quick_succession_are_speech():
    assert contains_speech(emissions("____tt_e_a___"))
    assert contains_speech(emissions("_" * 3_000 + "y_e_s" + "_" * 3_000))
    assert not contains_speech(emissions("____tt_e_a___", probability=0.85))
    assert contains_speech(emissions("____tt_e_a___", probability=0.85), min_probability=0.8)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "_" * 200,
        "__tttttttttt__",  # one character, repeated without a blank between
        "t" + "_" * 20 + "e" + "_" * 20 + "a",  # far from each other
        "_ _ _ _ _",  # gaps between words
    ],
)
def test_what_is_not_speech(path):
    assert not contains_speech(emissions(path))


def test_settings_count_characters_and_frames():
    path = "t" + "_" * 9 + "e" + "_" * 9 + "a"  # 20 frames from the first to the last
    assert not contains_speech(emissions(path), frames_per_second=50)
    assert contains_speech(emissions(path), frames_per_second=100)
    assert contains_speech(emissions(path), within_seconds=0.4)
    assert contains_speech(emissions(path), min_characters=2)
    assert contains_speech(emissions("_t_"), min_characters=1)


def test_one_sure_frame_makes_a_character_sure():
    table = np.concatenate([emissions("ttt", 0.6), emissions("t", 0.95), emissions("_e_a", 0.95)])
    assert contains_speech(table)


def test_any_alphabet_will_do():
    assert contains_speech(np.log(np.eye(5)[[2, 0, 3, 0, 4]] * 0.96 + 0.01))
    with pytest.raises(ValueError, match=r"shape \(frames, 1 \+ characters\).*\(3, 2\)"):
        contains_speech(np.zeros((3, GAP + 1)))
