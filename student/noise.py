"""Kitchen noise: which seconds of the recording may be trained on, which are measured on, and speech mixed with a piece of it."""

from pathlib import Path

import numpy as np
import soundfile

from student.recordings import SAMPLING_RATE, read_speech
from transformers_aura.distillation.augmentation import mix


TRAINING_SECONDS = 40
"""Training hears what comes before this second of the recording, measurements what comes after."""


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


def mix_with_piece(speech: np.ndarray, noise: np.ndarray, snr_db: float, generator: np.random.Generator) -> np.ndarray:
    """Speech with a piece of a longer noise at a signal-to-noise ratio, see [`~transformers_aura.distillation.augmentation.mix`].

    The ratio is that of the mean power of the speech in its active frames (20 ms, within 30 dB of the loudest frame) to the mean power of
    the piece. Where the sum would clip, all of it is made quieter, which leaves the ratio as it is.

    Args:
        speech: float32 `(n_samples,)` at 16 kHz.
        noise: float32, at least as long.
        snr_db: decibels.
        generator: draws where the piece begins.

    Returns:
        float32 `(n_samples,)` within [-1, 1].

    Raises:
        ValueError: the noise is shorter than the speech.
    """
    if len(noise) < len(speech):
        raise ValueError(
            f"{len(speech) / SAMPLING_RATE:.1f} s of speech need as much noise, but there are {len(noise) / SAMPLING_RATE:.1f} s."
        )
    start = int(generator.integers(len(noise) - len(speech) + 1))
    mixed = mix(speech, noise[start : start + len(speech)], snr_db)
    return (mixed / max(1.0, float(np.abs(mixed).max()))).astype(np.float32)
