"""How a spoken clip becomes a clip of the corpus: another body, another pace, pauses around it. All of it keeps what is said when."""

import numpy as np
import soxr


SAMPLING_RATE = 16000


def change_tract(samples: np.ndarray, sampling_rate: int, factor: float) -> np.ndarray:
    """`samples` played `factor` times as fast, at 16 kHz: pitch and formants move together, as between people of different size.

    The clip gets shorter by `factor`; a voice that speaks `1 / factor` as fast makes up for it.
    """
    return soxr.resample(samples, sampling_rate * factor, SAMPLING_RATE).astype(np.float32)


def trim_silence(samples: np.ndarray, margin_seconds: float = 0.05) -> np.ndarray:
    """`samples` (16 kHz) from the first to the last 10 ms that is within 30 dB of the loudest and well above the background, plus a margin."""
    hop = SAMPLING_RATE // 100
    energy = np.convolve(samples.astype(np.float32) ** 2, np.ones(400, np.float32) / 400, "same")[::hop]
    speech = np.flatnonzero(energy > max(20 * np.percentile(energy, 10), 1e-3 * energy.max()))
    if len(speech) == 0:
        return samples
    margin = int(margin_seconds * SAMPLING_RATE)
    return samples[max(0, speech[0] * hop - margin) : speech[-1] * hop + hop + margin]


def surround_with_pauses(samples: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """`samples` (16 kHz) with silence before and after: mostly short, now and then some seconds, as where a recorder was left running."""
    longest = 0.35 if generator.random() < 0.75 else 2.0
    before, after = generator.uniform(0.02, longest, size=2)
    return np.pad(samples, (int(before * SAMPLING_RATE), int(after * SAMPLING_RATE)))


def normalize_level(samples: np.ndarray, decibels: float = -24.0) -> np.ndarray:
    """`samples` at a mean power of `decibels` below full scale, quieter where they would clip."""
    samples = samples * np.float32(10 ** (decibels / 20) / (samples.std() + 1e-9))
    return (samples / max(1.0, np.abs(samples).max() / 0.99)).astype(np.float32)
