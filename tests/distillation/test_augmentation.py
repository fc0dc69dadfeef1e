import numpy as np
import pytest
import soundfile

from tests.processing.test_mixing import speech_with_pauses
from tests.support.tiny import tone
from tests.support.tolerance import assert_equal_but_for_rounding
from transformers_aura.distillation.augmentation import (
    WaveformAugmentation,
    equalize,
    mask,
    reverberate,
)


def test_nothing_moves_in_time():
    click = np.zeros(16000, np.float32)
    click[8000] = 0.5
    generator = np.random.default_rng(0)
    assert np.abs(reverberate(click, generator)).argmax() == 8000
    assert abs(int(np.abs(equalize(click, 4.0, False, generator)).argmax()) - 8000) < 16


def test_telephone_band_drops_what_a_telephone_drops():
    generator = np.random.default_rng(0)
    for hertz, passes in ((100, False), (1000, True), (6000, False)):
        heard = equalize(tone(0.5, hertz), 0.0, True, generator)
        assert (np.std(heard) > 0.5 * np.std(tone(0.5, hertz))) == passes


def test_a_mask_takes_out_moments_and_bands_and_leaves_the_rest():
    speech = np.random.default_rng(0).standard_normal(16000).astype(np.float32)
    shares = []
    for seed in range(30):
        heard = mask(speech, np.random.default_rng(seed))
        silent = heard == 0
        assert silent.mean() <= 2 * 0.15
        power = np.abs(np.fft.rfft(heard)) ** 2 / np.abs(np.fft.rfft(speech)) ** 2
        shares.append((silent.mean(), np.mean(power < 0.05)))
    silence, bands = np.mean(shares, axis=0)
    assert 0.05 < silence < 0.2
    assert 0.05 < bands < 0.5


def test_the_same_generator_gives_the_same_clip(tmp_path):
    soundfile.write(tmp_path / "kitchen.wav", np.random.default_rng(1).uniform(-0.5, 0.5, 32000), 16000)
    augmentation = WaveformAugmentation(
        [str(tmp_path / "kitchen.wav")],
        noise_probability=1.0,
        room_probability=0.5,
        equalizer_db=3.0,
        telephone_probability=0.2,
        mask_probability=0.5,
    )
    speech, others = speech_with_pauses(), [tone(0.3, 440), tone(2.0, 200)]
    clips = []
    for seed in range(20):
        first, second = (augmentation(speech, others, np.random.default_rng(seed)) for _ in range(2))
        np.testing.assert_array_equal(first, second)
        assert first.dtype == np.float32
        assert len(first) == len(speech)
        assert np.isfinite(first).all()
        assert np.abs(first).max() == pytest.approx(np.abs(speech).max(), rel=1e-3)
        clips.append(first)
    assert len({clip.tobytes() for clip in clips}) == 20


def test_off_is_the_clip_itself_and_silence_stays_silence():
    speech = speech_with_pauses()
    assert_equal_but_for_rounding(WaveformAugmentation()(speech, [], np.random.default_rng(0)), speech, terms=2)
    silence = np.zeros(1600, np.float32)
    noisy = WaveformAugmentation(noise_probability=1.0)
    np.testing.assert_array_equal(noisy(silence, [], np.random.default_rng(0)), silence)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"noise_probability": 1.5}, "`noise_probability` must lie between 0 and 1, got 1.5"),
        ({"equalizer_db": -1.0}, "`equalizer_db` must be at least 0"),
        ({"snr_db": (20.0, 3.0)}, r"`snr_db` must be \(lowest, highest\), got \(20.0, 3.0\)"),
    ],
)
def test_wrong_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        WaveformAugmentation(**settings)


def test_a_missing_noise_file_is_named():
    with pytest.raises(FileNotFoundError, match=r"kitchen\.wav, which is not there"):
        WaveformAugmentation(["kitchen.wav"])
