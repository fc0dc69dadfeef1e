"""What the student gets in place of the clean clip: rooms, microphones, telephone lines, noise and other people's speech.

Nothing here moves a sound in time, so the teacher's states of the clean clip stay the right targets: the student learns to find in
the noisy clip what the teacher finds in the clean one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from transformers.audio_utils import hertz_to_mel, mel_to_hertz

from ..processing.audio_loading import load_audio
from ..processing.mixing import SAMPLING_RATE, mix


BABBLE_SHARE, STEADY_SHARE = 0.2, 0.2
"""Of the noisy clips: noise that is other clips of the batch, and steady coloured noise. The rest is recordings."""


@dataclass(frozen=True)
class WaveformAugmentation:
    """Draws what happens to a clip; each effect with a probability of its own.

    Args:
        noise_files: recordings of background noise, any length; an excerpt of one is drawn, played forwards or backwards.
        noise_probability: share of clips with noise: other clips of the batch at once (a fifth of them), steady coloured noise (a fifth), or
            `noise_files`; where there are none, steady noise.
        snr_db: lowest and highest signal-to-noise ratio in decibels, see [`mix`].
        room_probability: share of clips with a reverberation tail of 0.1 to 0.5 s.
        equalizer_db: standard deviation of a smooth random frequency response, in decibels.
        telephone_probability: share of clips cut to the telephone band (300 to 3400 Hz).
        mask_probability: share of clips of which stretches of time and bands are silenced, see [`mask`].
    """

    noise_files: Sequence[str] = ()
    noise_probability: float = 0.0
    snr_db: tuple[float, float] = (3.0, 30.0)
    room_probability: float = 0.0
    equalizer_db: float = 0.0
    telephone_probability: float = 0.0
    mask_probability: float = 0.0
    _noises: list[np.ndarray] = field(default_factory=list, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in (
            "noise_probability",
            "room_probability",
            "telephone_probability",
            "mask_probability",
        ):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"`{name}` must lie between 0 and 1, got {getattr(self, name)}.")
        if not 0 <= self.equalizer_db < math.inf:
            raise ValueError(f"`equalizer_db` must be at least 0, got {self.equalizer_db}.")
        if len(self.snr_db) != 2 or not -math.inf < self.snr_db[0] <= self.snr_db[1] < math.inf:
            raise ValueError(f"`snr_db` must be (lowest, highest), got {tuple(self.snr_db)}.")
        for path in self.noise_files:
            if not Path(path).is_file():
                raise FileNotFoundError(f"`noise_files` names {path}, which is not there.")
            self._noises.append(load_audio(path))

    def __call__(
        self, waveform: np.ndarray, others: Sequence[np.ndarray], generator: np.random.Generator
    ) -> np.ndarray:
        """The clip with what was drawn.

        Args:
            waveform (`(samples,)`): the clean clip, float32, 16 kHz.
            others: further clips that may babble.
            generator: what is drawn from; the same state gives the same result.

        Returns:
            `np.ndarray` of shape `(samples,)`, float32: as long as the clip, at about its loudness.
        """
        level = float(np.abs(waveform).max())
        if level == 0:
            return waveform
        result = waveform
        if generator.random() < self.room_probability:
            result = reverberate(result, generator)
        result = equalize(result, self.equalizer_db, generator.random() < self.telephone_probability, generator)
        if generator.random() < self.noise_probability:
            result = mix(result, self._draw_noise(len(result), others, generator), generator.uniform(*self.snr_db))
        if self.mask_probability > 0 and generator.random() < self.mask_probability:
            result = mask(result, generator)
        return (result * np.float32(level / max(float(np.abs(result).max()), 1e-9))).astype(np.float32)

    def _draw_noise(
        self, num_samples: int, others: Sequence[np.ndarray], generator: np.random.Generator
    ) -> np.ndarray:
        kind = generator.random()
        if kind < BABBLE_SHARE and others:
            talkers = generator.integers(len(others), size=int(generator.integers(1, 5)))
            return sum(excerpt(others[index], num_samples, generator) for index in talkers)  # type: ignore[return-value]
        if kind < BABBLE_SHARE + STEADY_SHARE or not self._noises:
            return coloured_noise(num_samples, generator)
        noise = excerpt(self._noises[int(generator.integers(len(self._noises)))], num_samples, generator)
        return equalize(noise, 3.0, False, generator)


def excerpt(recording: np.ndarray, num_samples: int, generator: np.random.Generator) -> np.ndarray:
    """`num_samples` of a recording from a drawn place on, from its start again where it ends; backwards every other time."""
    start = int(generator.integers(len(recording)))
    cut = recording.take(np.arange(start, start + num_samples), mode="wrap")
    return cut[::-1] if generator.random() < 0.5 else cut


def coloured_noise(num_samples: int, generator: np.random.Generator) -> np.ndarray:
    """Steady noise between white and brown."""
    num_fft = _fft_size(num_samples)
    spectrum = torch.from_numpy(generator.standard_normal((num_fft // 2 + 1, 2), dtype=np.float32))
    slope = np.maximum(_frequencies(num_fft), 50) ** np.float32(-generator.uniform(0, 1))
    return torch.fft.irfft(torch.view_as_complex(spectrum) * torch.from_numpy(slope), num_fft)[:num_samples].numpy()


def reverberate(speech: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """A room: the direct sound, where it was, and a tail of noise that dies away."""
    decay_seconds = generator.uniform(0.1, 0.5)
    time = np.arange(int(decay_seconds * SAMPLING_RATE)) / SAMPLING_RATE
    tail = generator.standard_normal(len(time)) * 10 ** (-3 * time / decay_seconds)
    tail *= 10 ** (-generator.uniform(3, 16) / 20) / np.linalg.norm(tail)
    tail[0] += 1
    num_fft = _fft_size(len(speech) + len(tail))
    return _filter(speech, torch.fft.rfft(torch.from_numpy(tail).float(), num_fft), num_fft)


def equalize(speech: np.ndarray, decibels: float, telephone: bool, generator: np.random.Generator) -> np.ndarray:
    """A smooth random frequency response of `decibels` standard deviation at seven corners, and the telephone band if asked for."""
    if decibels == 0 and not telephone:
        return speech
    corners = np.array([60, 150, 400, 1000, 2500, 5000, 8000])
    num_fft = _fft_size(len(speech))
    frequencies = _frequencies(num_fft)
    response = np.interp(np.log(frequencies + 1), np.log(corners), generator.normal(0, decibels, size=len(corners)))
    if telephone:
        response -= 40 * ((frequencies < 300) | (frequencies > 3400))
    return _filter(speech, torch.from_numpy(np.float32(10) ** (response.astype(np.float32) / 20)), num_fft)


def _fft_size(num_samples: int) -> int:
    """The next number of samples at which a Fourier transform is fast: at most a quarter more."""
    step = 1 << max(1, num_samples.bit_length() - 3)
    return -(-num_samples // step) * step


def _frequencies(num_fft: int) -> np.ndarray:
    """In hertz, `(num_fft // 2 + 1,)`, float32."""
    return np.fft.rfftfreq(num_fft, 1 / SAMPLING_RATE).astype(np.float32)


def _filter(speech: np.ndarray, response: torch.Tensor, num_fft: int) -> np.ndarray:
    """`speech` (`(samples,)`) with each frequency times `response` (`(num_fft // 2 + 1,)`), float32, as long as it was."""
    samples = torch.from_numpy(np.ascontiguousarray(speech, dtype=np.float32))
    return torch.fft.irfft(torch.fft.rfft(samples, num_fft) * response, num_fft)[: len(speech)].numpy()


MASKS = 2
"""Stretches of time, and bands, that [`mask`] takes out of a clip."""

LONGEST_MASK_SECONDS = 0.15
"""As long as a syllable: the words around it tell what it was."""

WIDEST_MASK = 0.2
"""Of the mel scale from 0 to 8 kHz."""


def mask(speech: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Silences two stretches of time and two bands of frequency, drawn anew for each clip (SpecAugment, arXiv 1904.08779, on the waveform)."""
    num_fft = _fft_size(len(speech))
    frequencies = _frequencies(num_fft)
    response = torch.ones(len(frequencies))
    top = hertz_to_mel(SAMPLING_RATE / 2, mel_scale="slaney")
    for _ in range(MASKS):
        width = generator.uniform(0, WIDEST_MASK) * top
        low = generator.uniform(0, top - width)
        edges = (mel_to_hertz(low, mel_scale="slaney"), mel_to_hertz(low + width, mel_scale="slaney"))
        response[slice(*np.searchsorted(frequencies, edges))] = 0
    result = _filter(speech, response, num_fft)
    for _ in range(MASKS):
        length = int(generator.uniform(0, LONGEST_MASK_SECONDS) * SAMPLING_RATE)
        start = int(generator.integers(max(1, len(speech) - length)))
        result[start : start + length] = 0
    return result
