"""Which part of the noise is whose, and the ratio at which it is mixed."""

import numpy as np
import pytest
import soundfile

from student.noise import TRAINING_SECONDS, mix_with_piece, read_noise, write_training_noise
from tests.support.tiny import tone
from transformers_aura.distillation.augmentation import active_power


RATE = 16000


@pytest.fixture
def recording(tmp_path):
    """Training's part is negative, the measurement's part positive."""
    samples = np.full((TRAINING_SECONDS + 2) * RATE, -0.25, np.float32)
    samples[TRAINING_SECONDS * RATE :] = 0.25
    soundfile.write(tmp_path / "kitchen.flac", samples, RATE)
    return tmp_path / "kitchen.flac"


def test_training_and_measuring_hear_different_seconds(recording, tmp_path):
    for_training, for_measuring = read_noise(recording, training=True), read_noise(recording, training=False)
    assert len(for_training) == TRAINING_SECONDS * RATE
    assert len(for_measuring) == 2 * RATE
    assert (for_training < 0).all()
    assert (for_measuring > 0).all()
    write_training_noise(recording, tmp_path / "made" / "noise.flac")
    written, _ = soundfile.read(tmp_path / "made" / "noise.flac", dtype="float32")
    np.testing.assert_array_equal(written, for_training)


def test_a_recording_that_cannot_be_divided_is_refused(tmp_path):
    soundfile.write(tmp_path / "short.flac", np.zeros(RATE, np.float32), RATE)
    with pytest.raises(ValueError, match=r"lasts 1\.0 s.*nothing is left"):
        read_noise(tmp_path / "short.flac", training=False)


@pytest.mark.parametrize("snr_db", [0, 6, 24])
def test_the_ratio_is_that_of_the_speech_without_its_pauses(snr_db):
    speech = np.pad(tone(1.0, amplitude=0.1), RATE)  # two thirds are silence
    noise = np.random.default_rng(0).normal(scale=0.01, size=10 * RATE).astype(np.float32)
    mixed = mix_with_piece(speech, noise, snr_db, np.random.default_rng(1))
    added = mixed - speech
    found = 10 * np.log10(active_power(speech) / np.square(added, dtype=np.float64).mean())
    assert found == pytest.approx(snr_db, abs=0.05)


def test_the_generator_settles_the_piece():
    speech, noise = tone(0.5), np.random.default_rng(0).normal(size=2 * RATE).astype(np.float32)
    first, again, other = (mix_with_piece(speech, noise, 6, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_the_sum_does_not_clip():
    mixed = mix_with_piece(tone(0.5, amplitude=0.9), tone(1.0, 700), 0, np.random.default_rng(0))
    assert np.abs(mixed).max() == pytest.approx(1.0)


def test_noise_that_is_too_short_is_refused():
    with pytest.raises(ValueError, match=r"1\.0 s of speech need as much noise, but there are 0\.5 s"):
        mix_with_piece(tone(1.0), tone(0.5), 6, np.random.default_rng(0))
