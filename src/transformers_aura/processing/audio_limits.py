"""What audio may be at most, each limit with its name."""

import dataclasses
from typing import Any

import numpy as np
import torch

from .arguments import described, real_number, whole_number
from .audio_errors import AudioLoadingError, AudioTooLongError


SAMPLING_RATE_LIMITS_HZ = (1_000, 768_000)

MAX_CHANNELS = 8
"""An array's axis of at most this many entries can be its channels; a longer one is time."""

MAX_SECONDS = 3 * 60 * 60.0
"""Of one recording."""

MAX_FILE_BYTES = 2 * 1024**3
"""Of a regular file, whose size is known before it is read."""

MAX_STREAM_BYTES = 256 * 1024**2
"""Of what comes through a URL, a pipe or an open file, whose end may never come."""

TIMEOUT_SECONDS = 60.0

_MAX_TIMEOUT_SECONDS = 1_000_000  # what an operating system can wait
_VALUES_PER_SECOND = 96_000  # 48 kHz in stereo


@dataclasses.dataclass(frozen=True)
class AudioLimits:
    """How much of a source is taken; what is beyond it is refused, never cut off.

    Args:
        max_seconds: length of a recording. More than 96,000 values a second (48 kHz, stereo) make it as much shorter.
        max_bytes: size of a file before it is decoded; `None` for `MAX_FILE_BYTES` or `MAX_STREAM_BYTES`.
        timeout_seconds: time that a download may take in all, and for which a pipe may stay silent.
    """

    max_seconds: float = MAX_SECONDS
    max_bytes: int | None = None
    timeout_seconds: float = TIMEOUT_SECONDS

    def __post_init__(self) -> None:
        try:
            real_number("max_seconds", self.max_seconds, above=0)
            real_number("timeout_seconds", self.timeout_seconds, above=0, at_most=_MAX_TIMEOUT_SECONDS)
            if self.max_bytes is not None:
                whole_number("max_bytes", self.max_bytes)
        except (TypeError, ValueError) as error:
            raise AudioLoadingError(str(error)) from None

    @property
    def max_file_bytes(self) -> int:
        return MAX_FILE_BYTES if self.max_bytes is None else int(self.max_bytes)

    @property
    def max_stream_bytes(self) -> int:
        return MAX_STREAM_BYTES if self.max_bytes is None else int(self.max_bytes)

    def check_bytes(self, size: int, limit: int, description: str) -> None:
        if size > limit:
            raise AudioLoadingError(
                f"{description} has more than {limit} bytes. If that is meant, pass a larger `max_bytes` to `load_audio`; "
                "16 kHz mono FLAC or Opus is the smallest form that loses nothing here."
            )

    def check_length(self, num_samples: int, sampling_rate: int, description: str, channels: int = 1) -> None:
        """Raise an [`AudioTooLongError`] if `num_samples` (per channel) are more than `max_seconds`."""
        max_seconds = self.max_seconds * min(1.0, _VALUES_PER_SECOND / (sampling_rate * channels))
        if num_samples > max_seconds * sampling_rate:
            raise AudioTooLongError(
                f"{description} is longer than {max_seconds:g} s ({channels} channels at {sampling_rate} Hz). Cut it into "
                "parts, or pass a larger `max_seconds` to `load_audio`."
            )


def is_number(value: Any) -> bool:
    """Whether `value` is one real number: a Python or numpy scalar, or an array or tensor without dimensions."""
    if isinstance(value, (np.ndarray, torch.Tensor)):
        has_value = isinstance(value, np.ndarray) or not value.is_meta
        return has_value and value.ndim == 0 and is_number(value.item())
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


def check_sampling_rate(rate: Any, name: str) -> int:
    """The rate in whole hertz.

    Raises:
        AudioLoadingError: no whole number (an array or tensor of one value is one), or outside `SAMPLING_RATE_LIMITS_HZ`.
    """
    given = rate
    if isinstance(rate, (np.ndarray, torch.Tensor)) and tuple(rate.shape) == (1,):  # of a batch of one
        rate = rate[0]
    rate = rate.item() if isinstance(rate, (np.ndarray, torch.Tensor)) and is_number(rate) else rate
    if not is_number(rate) or (not isinstance(rate, int) and not float(rate).is_integer()):
        raise AudioLoadingError(f"{name} must be a whole number of hertz, got {described(given)}.")
    low, high = SAMPLING_RATE_LIMITS_HZ
    if not low <= rate <= high:
        hint = f" If it is in kHz, pass {int(rate * 1000)}." if low <= rate * 1000 <= high else ""
        raise AudioLoadingError(f"{name} must lie between {low} and {high} Hz, got {described(rate)}.{hint}")
    return int(rate)
