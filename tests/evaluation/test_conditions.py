import numpy as np
import pytest

from tests.support.tiny import tone
from tests.support.tolerance import assert_equal_but_for_rounding
from transformers_aura.evaluation.conditions import CONDITIONS, Condition
from transformers_aura.processing.mixing import active_power


NOISE = {"array": np.random.default_rng(0).normal(0, 0.1, 48000).astype(np.float32), "sampling_rate": 16000}


@pytest.mark.parametrize("written", ["clean", "noise:12", "speed:1.2", "gain:-20", "context:256", "shuffled"])
def test_the_written_form_comes_back(written):
    assert str(Condition.parse(written, NOISE)) == written


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("noize:12", "There is no condition 'noize'. Did you mean 'noise'?"),
        ("noise", "needs a number"),
        ("noise:loud", "needs a number"),
        ("speed:5", "between 0.5 and 2"),
        ("speed:nan", "between 0.5 and 2"),
        ("clean:3", "takes no number"),
        ("context:1.5", "the number of words is a whole one"),
    ],
)
def test_errors_for_people(written, message):
    with pytest.raises(ValueError, match=message):
        Condition.parse(written, NOISE)


def test_noise_without_a_recording_is_an_error():
    with pytest.raises(ValueError, match=r"'noise:6' needs a recording of noise \(`--noise kitchen.flac`\)"):
        Condition.parse("noise:6")


@pytest.mark.fault("evaluation")
@pytest.mark.filterwarnings("ignore::transformers_aura.processing.audio_loading.SilentAudioWarning")
def test_noise_that_is_silent_is_an_error():
    with pytest.raises(ValueError, match="'noise:6': the recording of noise holds nothing but digital silence"):
        Condition.parse("noise:6", {"array": np.zeros(1600, np.float32), "sampling_rate": 16000})


def test_noise_has_the_ratio_that_was_asked_for():
    speech = np.concatenate([np.zeros(8000, np.float32), tone(1.0, 300.0), np.zeros(8000, np.float32)])
    changed = Condition.parse("noise:6", NOISE).apply(speech, "a")
    scale = np.abs(changed).max() / np.abs(speech).max()  # the whole may have been made quieter
    noise = changed[:6000]
    ratio = active_power(changed[8000:24000] - changed[8000:24000].mean()) / np.mean(np.square(noise))
    assert scale > 0.5
    assert 10 * np.log10(ratio - 1) == pytest.approx(6.0, abs=0.7)


def test_the_piece_of_noise_depends_on_item_seed_and_ratio_alone():
    speech = tone(0.5, 300.0)
    condition = Condition.parse("noise:6", NOISE, seed=1)
    assert np.array_equal(condition.apply(speech, "a"), condition.apply(speech, "a"))
    assert not np.array_equal(condition.apply(speech, "a"), condition.apply(speech, "b"))
    assert not np.array_equal(
        condition.apply(speech, "a"), Condition.parse("noise:6", NOISE, seed=2).apply(speech, "a")
    )


def test_speed_and_gain():
    speech = tone(1.0, 300.0)
    faster = Condition.parse("speed:2").apply(speech, "a")
    assert len(faster) == pytest.approx(8000, abs=2)
    spectrum = np.abs(np.fft.rfft(faster * np.hanning(len(faster))))
    assert np.argmax(spectrum) * 16000 / len(faster) == pytest.approx(600, abs=4), "pitch and all"
    softer = Condition.parse("gain:-20").apply(speech, "a")
    assert_equal_but_for_rounding(softer, speech / 10, terms=2)
    assert np.abs(Condition.parse("gain:18").apply(speech, "a")).max() <= 1.0


def test_context_moves_the_audio_and_keeps_the_items_own():
    condition = Condition.parse("context:20")
    assert len(condition.context(None).split()) == 20
    assert condition.context("The paragraph.").endswith("\nThe paragraph.")
    assert Condition.parse("clean").context("The paragraph.") == "The paragraph."


def test_shuffled_gives_every_item_another_recording():
    names = [str(number) for number in range(20)]
    changed = Condition.parse("shuffled").recording_of(names)
    assert sorted(changed.values()) == sorted(names)
    assert all(name != other for name, other in changed.items())
    assert Condition.parse("clean").recording_of(names) == {name: name for name in names}
    assert Condition.parse("shuffled").recording_of(["a"]) == {"a": "a"}


def test_every_condition_is_described():
    assert all(CONDITIONS.values())
