"""Samples of any shape, type and scale to mono float32."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .audio_errors import AudioLoadingError
from .audio_limits import MAX_CHANNELS


MAX_ABSOLUTE_AMPLITUDE = 8.0
"""Float samples belong in [-1, 1]; 18 dB of headroom is left for loud gain, beyond it the scale is wrong."""

_INTEGER_SCALES = {np.dtype(np.int8): 2**7, np.dtype(np.int16): 2**15, np.dtype(np.int32): 2**31}


def to_mono_float32(
    samples: np.ndarray | torch.Tensor | Sequence[Any], description: str = "the audio", allow_empty: bool = False
) -> NDArray[np.float32]:
    """Check raw samples and bring them to one form.

    Args:
        samples: floats in [-1, 1], or int8, int16, int32 or uint8 at full scale, of either byte order, of shape
            `(n_samples,)`, `(channels, n_samples)` or `(n_samples, channels)`; see [`~transformers_aura.load_audio`].
        description (`str`): how to call the audio in an error.
        allow_empty (`bool`, defaults to `False`): let 0 samples through (a chunk of a stream may be empty).

    Returns:
        `np.ndarray` of shape `(n_samples,)`, float32.

    Raises:
        AudioLoadingError: see [`~transformers_aura.load_audio`].
    """
    with np.errstate(
        over="ignore", invalid="ignore"
    ):  # what is too large for float32 is infinite, and refused as that
        array = _scale_to_float32(_as_array(samples, description), description)
    check_amplitude(array, description)
    array = _mix_down(array, description)
    if array.size == 0 and not allow_empty:
        raise AudioLoadingError(f"{description} is empty: it has 0 samples.")
    return array


def peak(samples: NDArray[np.float32]) -> float:
    """Largest absolute value; NaN if there is one among the samples."""
    return float(np.maximum(samples.max(), -samples.min()))


def _as_array(samples: Any, description: str) -> np.ndarray:
    if isinstance(samples, (np.ma.MaskedArray, np.matrix)):
        raise AudioLoadingError(
            f"{description} is a {type(samples).__name__}, which may hide samples or axes. Pass a plain array: "
            "`.filled(0)` or `.compressed()` of a masked array, `np.asarray` of a matrix."
        )
    try:
        if isinstance(samples, torch.Tensor):
            samples = samples.detach().cpu()
            return (samples.float() if samples.is_floating_point() else samples).numpy()
        array = np.asarray(samples)
    except (ValueError, TypeError, RuntimeError) as error:
        raise AudioLoadingError(
            f"{description} does not form an array (lists of unequal length?): {error}."
        ) from error
    # An empty list has no type of its own.
    return array.astype(np.float32) if array.size == 0 and not isinstance(samples, np.ndarray) else array


def _scale_to_float32(array: np.ndarray, description: str) -> NDArray[np.float32]:
    native = array.dtype.newbyteorder("=")
    if array.dtype.kind == "f":
        return array.astype(np.float32, copy=False)
    if native in _INTEGER_SCALES:
        return np.divide(array, _INTEGER_SCALES[native], dtype=np.float64).astype(np.float32)
    if native == np.uint8:  # the one unsigned type of audio: 8-bit wav, silence at 128
        return (array.astype(np.float32) - np.float32(128)) / np.float32(128)
    raise AudioLoadingError(
        f"{description} has samples of type {array.dtype}, whose scale is not known. Pass floats in [-1, 1], or int16, "
        "int32, int8 or uint8 at full scale (16-bit samples in a wider type: `.astype('int16')`)."
    )


def check_amplitude(array: NDArray[np.float32], description: str) -> None:
    """Raise if there are NaN, infinite or wrongly scaled values among samples of any shape."""
    # One pass finds NaN, infinity and a wrong scale: none of them compares as small.
    if array.size == 0 or peak(array) <= MAX_ABSOLUTE_AMPLITUDE:
        return
    bad = int(array.size - np.isfinite(array).sum())
    if bad:
        raise AudioLoadingError(
            f"{description} holds {bad} NaN or infinite values among its {array.size} samples. Audio must be finite: "
            "look at what produced it (a division by a peak of 0, or a failed conversion, are the usual causes)."
        )
    raise AudioLoadingError(
        f"{description} has float samples up to {peak(array):.6g}, but float audio lies in [-1, 1]. If these "
        "are 16-bit integers in a float array, divide by 32768 or pass them as int16."
    )


def _mix_down(array: NDArray[np.float32], description: str) -> NDArray[np.float32]:
    if array.ndim == 1:
        return array
    if array.ndim == 2:
        is_channels = [size <= MAX_CHANNELS for size in array.shape]
        if is_channels[0] != is_channels[1]:
            return array.mean(axis=0 if is_channels[0] else 1, dtype=np.float32)
        if 0 in array.shape:
            return array.reshape(-1)
    raise AudioLoadingError(
        f"{description} has shape {array.shape}, in which channels and time cannot be told apart: one clip is "
        f"(n_samples,), (channels, n_samples) or (n_samples, channels) with at most {MAX_CHANNELS} channels and more "
        "samples than that. Pass several clips as a list of arrays."
    )
