"""Speech and noise at a given signal-to-noise ratio, at the one sampling rate that students and teachers work at."""

from __future__ import annotations

import numpy as np


SAMPLING_RATE = 16_000
"""In hertz."""


def mix(speech: np.ndarray, noise: np.ndarray, snr_db: float) -> np.ndarray:
    """`speech + gain * noise` at a signal-to-noise ratio of `snr_db` decibels.

    The ratio is that of the mean power of the speech where somebody speaks to the mean power of the noise. Somebody speaks in the
    frames of 20 ms whose power is within 30 dB of the loudest frame's: pauses would else make the noise weaker the longer they are.

    Args:
        speech, noise (`(samples,)`): of the same length and sampling rate.
    """
    if len(speech) != len(noise):
        raise ValueError(f"Speech and noise must be of the same length, got {len(speech)} and {len(noise)} samples.")
    noise_power = float(np.mean(np.square(noise, dtype=np.float64)))
    if noise_power == 0:
        return speech
    gain = np.sqrt(active_power(speech) / noise_power * 10 ** (-snr_db / 10))
    return (speech + np.float32(gain) * noise).astype(np.float32)


def active_power(speech: np.ndarray, frame: int = SAMPLING_RATE // 50) -> float:
    """Mean power of the frames of `speech` that are within 30 dB of the loudest."""
    padded = np.pad(speech.astype(np.float64), (0, -len(speech) % frame))
    powers = np.square(padded).reshape(-1, frame).mean(axis=1)
    return float(powers[powers >= 1e-3 * powers.max()].mean())
