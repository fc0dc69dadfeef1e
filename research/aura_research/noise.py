"""Kitchen noise: which seconds of the recording may be trained on, and which are measured on."""

from pathlib import Path

import numpy as np
import soundfile

from aura_research.recordings import SAMPLING_RATE, read_speech


TRAINING_SECONDS = 40
"""Training has what comes before this second of the recording, measurements what comes after."""


def read_noise(recording: Path, training: bool) -> np.ndarray:
    """The part of a noise recording for training, or else for measuring: mono float32 `(n_samples,)` at 16 kHz.

    Raises:
        ValueError: the recording is too short to be divided.
    """
    samples = read_speech(recording)
    border = TRAINING_SECONDS * SAMPLING_RATE
    if len(samples) <= border:
        raise ValueError(
            f"{recording} lasts {len(samples) / SAMPLING_RATE:.1f} s. Its first {TRAINING_SECONDS} s are for training, "
            "so nothing is left to measure with."
        )
    return samples[:border] if training else samples[border:]


def write_training_noise(recording: Path, target: Path) -> None:
    """Writes the part of a noise recording that may be trained on as a file of its own, for `WaveformAugmentation(noise_files=...)`."""
    target.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(target, read_noise(recording, training=True), SAMPLING_RATE)
