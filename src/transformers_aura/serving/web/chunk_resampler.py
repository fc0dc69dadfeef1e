"""Chunks of a browser's microphone, at its rate, to what a stream takes."""

import numpy as np
import soxr
from numpy.typing import NDArray

from ...processing.audio_limits import check_sampling_rate
from ...processing.audio_samples import to_mono_float32


class ChunkResampler:
    """
    Brings one recording, chunk by chunk, to mono and to another rate. All that comes out together is what the whole recording gives.

    Args:
        target_rate: in hertz.
    """

    def __init__(self, target_rate: int) -> None:
        self._target_rate = target_rate
        self._rate: int | None = None
        self._resampler: soxr.ResampleStream | None = None

    def push(self, samples: NDArray, rate: int) -> NDArray[np.float32]:
        """
        Args:
            samples: `(n_samples,)` or `(n_samples, channels)`, floats in [-1, 1] or integers at full scale.
            rate: in hertz, of all chunks of a recording.

        Returns:
            The samples that are complete, `(n_new_samples,)`.

        Raises:
            AudioLoadingError: samples that [`~transformers_aura.load_audio`] refuses, or an impossible rate.
            ValueError: another rate than that of the chunks before.
        """
        if self._rate is None:
            self._rate = check_sampling_rate(rate, "The rate of the microphone")
            if rate != self._target_rate:
                self._resampler = soxr.ResampleStream(rate, self._target_rate, 1, dtype="float32", quality="HQ")
        if rate != self._rate:
            raise ValueError(f"The rate of the microphone went from {self._rate} to {rate} Hz within a recording.")
        chunk = to_mono_float32(samples, "the chunk of the microphone", allow_empty=True)
        return chunk if self._resampler is None else self._resampler.resample_chunk(chunk)

    def finish(self) -> NDArray[np.float32]:
        """The samples that are left; a new recording may begin."""
        rest = np.zeros(0, dtype=np.float32)
        if self._resampler is not None:
            rest = self._resampler.resample_chunk(rest, last=True)
        self._rate = self._resampler = None
        return rest
