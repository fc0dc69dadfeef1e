"""How a spoken clip becomes a clip of the corpus: another body, another pace, pauses around it. All of it keeps what is said when."""

import numpy as np
import soxr

from tools.voices import SAMPLING_RATE


def change_tract(samples: np.ndarray, sampling_rate: int, factor: float) -> np.ndarray:
    """`samples` played `factor` times as fast, at 16 kHz: pitch and formants move together, as between people of different size.

    The clip gets shorter by `factor`; a voice that speaks `1 / factor` as fast makes up for it.
    """
    return soxr.resample(samples, sampling_rate * factor, SAMPLING_RATE).astype(np.float32)


def surround_with_pauses(samples: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """`samples` (16 kHz) with silence before and after: mostly short, now and then some seconds, as where a recorder was left running."""
    longest = 0.35 if generator.random() < 0.75 else 2.0
    before, after = generator.uniform(0.02, longest, size=2)
    return np.pad(samples, (int(before * SAMPLING_RATE), int(after * SAMPLING_RATE)))


def normalize_level(samples: np.ndarray, decibels: float = -24.0) -> np.ndarray:
    """`samples` at a mean power of `decibels` below full scale, quieter where they would clip."""
    samples = samples * np.float32(10 ** (decibels / 20) / (samples.std() + 1e-9))
    return (samples / max(1.0, np.abs(samples).max() / 0.99)).astype(np.float32)
