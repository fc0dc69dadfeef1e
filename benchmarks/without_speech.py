"""Clips in which nobody speaks: of which a student must say that nothing was heard."""

import numpy as np


SAMPLING_RATE = 16_000
LEVELS_DB = (-70, -45, -20)
"""RMS of the clips in decibels, 0 = full scale."""


def clips_without_speech(
    seed: int, kitchen: np.ndarray | None = None, seconds: float = 4.0, levels_db: tuple[float, ...] = LEVELS_DB
) -> dict[str, np.ndarray]:
    """Digital silence, and nine other sounds at each level (ten with `kitchen`).

    Args:
        seed: of everything that is drawn.
        kitchen: noise of a kitchen, mono at 16 kHz; an excerpt of it is taken for each level.
        seconds: length of a clip.
        levels_db: RMS of the clips in decibels, 0 = full scale.

    Returns:
        By name, such as `"hum of 50 Hz at -45 dB"`: float32 `(n_samples,)`.
    """
    num_samples = round(seconds * SAMPLING_RATE)
    clips = {"digital silence": np.zeros(num_samples, np.float32)}
    for level_db in levels_db:
        generator = np.random.default_rng([seed, round(level_db) % 1000])
        time = np.arange(num_samples) / SAMPLING_RATE
        sounds = {
            "white noise": _coloured_noise(num_samples, 0.0, generator),
            "pink noise": _coloured_noise(num_samples, 0.5, generator),
            "brown noise": _coloured_noise(num_samples, 1.0, generator),
            "hum of 50 Hz": _harmonics(time, 50.0, 12, generator),
            "hum of 60 Hz": _harmonics(time, 60.0, 12, generator),
            "tone": np.sin(2 * np.pi * generator.uniform(150, 3000) * time),
            "two tones": np.where(time % 1 < 0.5, np.sin(2 * np.pi * 697 * time), np.sin(2 * np.pi * 1336 * time)),
            "clicks": _clicks(num_samples, generator),
            "fan": _fan(time, generator),
        }
        if kitchen is not None:
            start = int(generator.integers(max(1, len(kitchen) - num_samples)))
            sounds["kitchen"] = np.resize(kitchen[start:], num_samples)
        for name, sound in sounds.items():
            clips[f"{name} at {level_db:g} dB"] = _at_level(sound, level_db)
    return clips


def _at_level(sound: np.ndarray, level_db: float) -> np.ndarray:
    rms = np.sqrt(np.mean(np.square(sound, dtype=np.float64)))
    return (sound * (10 ** (level_db / 20) / rms)).clip(-1, 1).astype(np.float32)


def _coloured_noise(num_samples: int, exponent: float, generator: np.random.Generator) -> np.ndarray:
    frequencies = np.fft.rfftfreq(num_samples, 1 / SAMPLING_RATE)
    spectrum = np.fft.rfft(generator.standard_normal(num_samples)) * np.maximum(frequencies, 30) ** -exponent
    return np.fft.irfft(spectrum, num_samples)


def _harmonics(time: np.ndarray, hertz: float, count: int, generator: np.random.Generator) -> np.ndarray:
    decay = generator.uniform(0.5, 1.5)
    return sum(
        (np.sin(2 * np.pi * hertz * order * time + generator.uniform(0, 2 * np.pi)) / order**decay)
        for order in range(1, count + 1)
    )


def _clicks(num_samples: int, generator: np.random.Generator) -> np.ndarray:
    sound = 1e-4 * generator.standard_normal(num_samples)
    spacing = int(generator.uniform(0.15, 0.8) * SAMPLING_RATE)
    for start in range(int(generator.integers(spacing)), num_samples - 400, spacing):
        sound[start : start + 400] += generator.standard_normal(400) * np.exp(
            -np.arange(400) / generator.uniform(10, 80)
        )
    return sound


def _fan(time: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Noise that swells with the blades, and the motor's harmonics."""
    noise = _coloured_noise(len(time), 0.7, generator)
    noise *= (1 + 0.4 * np.sin(2 * np.pi * generator.uniform(5, 25) * time)) / noise.std()
    return noise + 0.5 * _harmonics(time, generator.uniform(80, 300), 5, generator)
