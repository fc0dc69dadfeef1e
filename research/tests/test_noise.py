"""Which part of the noise is whose."""

import numpy as np
import pytest
import soundfile

from aura_research.noise import TRAINING_SECONDS, read_noise, write_training_noise


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
