"""One function that turns whatever holds speech into the waveform that the student takes: float32, mono, 16 kHz."""

import base64
import binascii
import http.client
import io
import math
import os
import re
import sys
import urllib.error
import urllib.parse
import urllib.request
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray

from .mp3_index import count_mp3_samples, has_mp3_index, with_mp3_index


@runtime_checkable
class SupportsRead(Protocol):
    """An open binary file, or anything else with `read() -> bytes`."""

    def read(self, size: int = -1, /) -> bytes: ...


AudioSource: TypeAlias = (
    str | os.PathLike | bytes | bytearray | memoryview | SupportsRead | Mapping | np.ndarray | torch.Tensor | Sequence
)
"""What [`load_audio`] takes (an `AudioDecoder` of `datasets` is taken too)."""

AUDIO_DICT_KEYS = ("array", "raw", "bytes", "path", "sampling_rate")
"""Keys of the dict form of an [`AudioSource`]: samples (`array` or `raw`) or a file (`bytes` or `path`), and a rate."""

MAX_CHANNELS = 8
"""An array's axis of at most this many entries can be its channels; a longer one is time."""

MAX_ABSOLUTE_AMPLITUDE = 8.0
"""Float samples belong in [-1, 1]; 18 dB of headroom is left for loud gain, beyond it the scale is wrong."""

SAMPLING_RATE_LIMITS_HZ = (1_000, 768_000)

_SILENCE_PEAK = 1 / 32768  # one step of 16-bit audio
_INTEGER_SCALES = {np.dtype(np.int8): 2**7, np.dtype(np.int16): 2**15, np.dtype(np.int32): 2**31}
_URL = re.compile(r"[a-z][a-z0-9+.-]+://|data:", re.IGNORECASE)
_BASE64_TEXT = re.compile(r"[A-Za-z0-9+/_-]+={0,2}")
_MIN_BASE64_LENGTH = 64  # the shortest audio file there is (a WAV header) is longer; most mistyped paths are not
_MAX_PATH_LENGTH = 4096
_MP3_LENGTH_TOLERANCE = 6 * 1152  # samples: the index frame, and what an encoder adds at both ends
_USER_AGENT = "transformers-aura"


class AudioLoadingError(ValueError):
    """Audio that cannot be used as given; the message says what was given and what to do about it."""


class SilentAudioWarning(UserWarning):
    """The audio holds nothing but digital silence: it is accepted, but there is no question in it."""


def load_audio(
    source: AudioSource,
    sampling_rate: int | None = None,
    target_sampling_rate: int = 16_000,
    timeout_seconds: float = 30.0,
) -> NDArray[np.float32]:
    """Read, decode, mix down and resample speech.

    Args:
        source: one of

            - a path (`str` or `os.PathLike`) of a file that soundfile decodes: wav, flac, mp3, ogg (Vorbis, Opus), aiff;
            - an `http(s)://` URL (the only case that touches the network), a `data:` URL, or base64 text of a file;
            - `bytes` of a file, or a file opened in binary mode;
            - `{"array": samples, "sampling_rate": hertz}`, `{"path": ...}` or `{"bytes": ...}`, as `datasets` yields them
              decoded or not, or its `AudioDecoder`;
            - `(hertz, samples)` or `(samples, hertz)`, as gradio, librosa, torchaudio and soundfile return them;
            - plain samples: a numpy array, a torch tensor or a list of floats, together with `sampling_rate`.

            Samples are floats in [-1, 1] or int8/int16/int32/uint8 at their full scale, of shape `(n_samples,)`,
            `(channels, n_samples)` or `(n_samples, channels)`: the axis of at most 8 entries is the channels, and
            the channels are averaged.
        sampling_rate (`int`, *optional*): rate of `source` in hertz. Plain samples need it; where `source` states its own
            rate it may be left out, and must agree if given.
        target_sampling_rate (`int`, defaults to 16000): rate of the result in hertz.
        timeout_seconds (`float`, defaults to 30): how long a URL's server may stay silent.

    Returns:
        `np.ndarray` of shape `(n_samples,)`, float32, mono, at `target_sampling_rate`.

    Raises:
        AudioLoadingError: a missing, empty, truncated or undecodable file, an unreachable URL, samples without a rate, with
            a contradicted or impossible rate, of a wrong shape, type or scale, or with NaN or infinity in them.

    Digital silence is accepted with a [`SilentAudioWarning`].
    """
    description = describe_audio(source)
    _check_sampling_rate(target_sampling_rate, "`target_sampling_rate`")
    if sampling_rate is not None:
        _check_sampling_rate(sampling_rate, "`sampling_rate`")
    samples, own_rate = _read(source, description, timeout_seconds)
    if own_rate is None:
        if sampling_rate is None:
            raise AudioLoadingError(
                f"The sampling rate of {description} is not known. Pass `sampling_rate=` (in hertz), or "
                '{"array": ..., "sampling_rate": ...} in place of the plain samples.'
            )
        own_rate = int(sampling_rate)
    elif sampling_rate is not None and int(sampling_rate) != own_rate:
        raise AudioLoadingError(
            f"{description} states a sampling rate of {own_rate} Hz, but `sampling_rate={sampling_rate}` was passed. "
            "Leave `sampling_rate` out (the audio carries its own, and is resampled as needed), or correct it."
        )
    waveform = to_mono_float32(samples, description)
    if np.abs(waveform).max() <= _SILENCE_PEAK:
        warnings.warn(
            f"{description} is digital silence ({len(waveform) / own_rate:.2f} s without a sound): check the "
            "microphone or the file. It is passed on as it is.",
            SilentAudioWarning,
            stacklevel=2,
        )
    if own_rate != target_sampling_rate:
        waveform = _resample(waveform, own_rate, target_sampling_rate, description)
    return waveform


def to_mono_float32(
    samples: np.ndarray | torch.Tensor | Sequence[Any], description: str = "the audio", allow_empty: bool = False
) -> NDArray[np.float32]:
    """Check raw samples and bring them to one form.

    Args:
        samples: floats in [-1, 1], or int8, int16, int32 or uint8 at full scale, of shape `(n_samples,)`,
            `(channels, n_samples)` or `(n_samples, channels)`; see [`load_audio`].
        description (`str`): how to call the audio in an error.
        allow_empty (`bool`, defaults to `False`): let 0 samples through (a chunk of a stream may be empty).

    Returns:
        `np.ndarray` of shape `(n_samples,)`, float32.

    Raises:
        AudioLoadingError: see [`load_audio`].
    """
    array = _as_array(samples, description)
    array = _scale_to_float32(array, description)
    array = _mix_down(array, description)
    if array.size == 0:
        if allow_empty:
            return array
        raise AudioLoadingError(f"{description} is empty: it has 0 samples.")
    # One pass finds NaN, infinity and a wrong scale: none of them compares as small.
    if not np.abs(array).max() <= MAX_ABSOLUTE_AMPLITUDE:
        bad = int(array.size - np.isfinite(array).sum())
        if bad:
            raise AudioLoadingError(
                f"{description} holds {bad} NaN or infinite values among its {array.size} samples. Audio must be finite: "
                "look at what produced it (a division by a peak of 0, or a failed conversion, are the usual causes)."
            )
        raise AudioLoadingError(
            f"{description} has float samples up to {np.abs(array).max():.6g}, but float audio lies in [-1, 1]. If these "
            "are 16-bit integers in a float array, divide by 32768 or pass them as int16."
        )
    return array


def has_own_sampling_rate(source: AudioSource) -> bool:
    """Whether `source` states its sampling rate itself (a file, a URL, a dict with a rate), so that none must be given."""
    if isinstance(source, Mapping):
        return source.get("sampling_rate") is not None or source.get("array", source.get("raw")) is None
    if isinstance(source, (np.ndarray, torch.Tensor)):
        return False
    if isinstance(source, (list, tuple)):
        return is_array_with_rate(source)
    return True


def is_array_with_rate(source: Any) -> bool:
    """Whether `source` is a pair of samples and their rate, in either order."""
    if not isinstance(source, tuple) or len(source) != 2:
        return False
    first, second = source
    return (_is_rate(first) and isinstance(second, (np.ndarray, torch.Tensor))) or (
        isinstance(first, (np.ndarray, torch.Tensor)) and _is_rate(second)
    )


def is_samples_list(source: Any) -> bool:
    """Whether `source` is a list (or tuple) of numbers, that is one mono clip."""
    return (
        isinstance(source, (list, tuple))
        and len(source) > 0
        and isinstance(source[0], (int, float, np.number))
        and not is_array_with_rate(source)
    )


def is_audio_decoder(source: Any) -> bool:
    """Whether `source` is a torchcodec `AudioDecoder`, such as the ones `datasets` >= 4 yields."""
    torchcodec_decoders = sys.modules.get("torchcodec.decoders")  # imported by whoever made the object, if it is one
    return torchcodec_decoders is not None and isinstance(source, torchcodec_decoders.AudioDecoder)


def is_path(source: str) -> bool:
    """Whether audio that is given as text is named by its path, not by a URL, and is not base64 text itself."""
    if _URL.match(source):
        return False
    looks_like_base64 = len(source) >= _MIN_BASE64_LENGTH and _BASE64_TEXT.fullmatch(source.replace("\n", ""))
    # A path may look like that too (without a dot, so without an extension): it wins if it exists.
    return not looks_like_base64 or (len(source) <= _MAX_PATH_LENGTH and os.path.exists(source))


def describe_audio(source: Any) -> str:
    """A short name of an audio source for messages, never the data itself."""
    if isinstance(source, str):
        if source.startswith("data:"):
            return f"the `data:` URL of {len(source)} characters"
        if len(source) > 200:
            return f"the text of {len(source)} characters ('{source[:24]}...')"
        return f"'{source}'"
    if isinstance(source, os.PathLike):
        return f"'{os.fspath(source)}'"
    if isinstance(source, (bytes, bytearray, memoryview)):
        return f"the {len(source)} bytes given as audio"
    if isinstance(source, Mapping):
        return f"the audio dict with keys {sorted(map(str, source))}"
    if isinstance(source, (np.ndarray, torch.Tensor)):
        return f"the {str(source.dtype).removeprefix('torch.')} array of shape {tuple(source.shape)}"
    if isinstance(source, (list, tuple)):
        return f"the {type(source).__name__} of {len(source)} values"
    return f"the audio given as {type(source).__name__}"


def _read(source: Any, description: str, timeout_seconds: float) -> tuple[Any, int | None]:
    """Samples of `source` (any shape and type) and the rate it states, if it does."""
    if isinstance(source, str):
        return _read_text(source, description, timeout_seconds)
    if isinstance(source, os.PathLike):
        return _read_file(Path(source), description)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _decode(bytes(source), description)
    if isinstance(source, Mapping):
        return _read_dict(source, description, timeout_seconds)
    if isinstance(source, (np.ndarray, torch.Tensor)):
        return source, None
    if is_array_with_rate(source):
        first, second = source
        samples, rate = (second, first) if _is_rate(first) else (first, second)
        return samples, _check_sampling_rate(rate, "The rate beside the samples")
    if isinstance(source, (list, tuple)):
        return source, None
    if is_audio_decoder(source):
        decoded = source.get_all_samples()
        return decoded.data.mean(dim=0), int(decoded.sample_rate)  # `data` is (channels, n_samples)
    if isinstance(source, SupportsRead):
        data = source.read()
        if not isinstance(data, bytes):
            raise AudioLoadingError(f"{description} does not read as bytes: open the file in binary mode ('rb').")
        return _decode(data, description)
    raise AudioLoadingError(
        f"Audio of type {type(source).__name__} is not supported. Pass a path, URL, bytes, file opened in binary mode, "
        'numpy array, torch tensor, list of floats, or {"array": ..., "sampling_rate": ...}.'
    )


def _read_text(source: str, description: str, timeout_seconds: float) -> tuple[NDArray[np.float32], int]:
    scheme = source[:8].lower()
    if scheme.startswith(("http://", "https://")):
        return _decode(_download(source, timeout_seconds), description)
    if scheme.startswith("data:"):
        header, comma, payload = source.partition(",")
        if not comma:
            raise AudioLoadingError(f"{description} has no comma between its media type and its data.")
        if header.endswith(";base64"):
            return _decode(_decode_base64(payload, description), description)
        return _decode(urllib.parse.unquote_to_bytes(payload), description)
    if scheme.startswith("file://"):
        return _read_file(Path(urllib.request.url2pathname(urllib.parse.urlsplit(source).path)), description)
    if is_path(source) or _URL.match(source):
        return _read_file(Path(source), description)
    return _decode(_decode_base64(source, description), description)


def _read_file(path: Path, description: str) -> tuple[NDArray[np.float32], int]:
    path = path.expanduser()
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise AudioLoadingError(
            f"There is no audio file {description} (looked from '{os.getcwd()}'). Check the path."
        ) from None
    except IsADirectoryError:
        raise AudioLoadingError(f"{description} is a folder, not an audio file.") from None
    except (OSError, ValueError) as error:
        # The error's own text repeats the name, however long that is.
        reason = getattr(error, "strerror", None) or error
        raise AudioLoadingError(f"The audio file {description} cannot be read: {reason}.") from error
    return _decode(data, description)


def _read_dict(source: Mapping, description: str, timeout_seconds: float) -> tuple[Any, int | None]:
    unknown = sorted(str(key) for key in source if key not in AUDIO_DICT_KEYS)
    if unknown:
        raise AudioLoadingError(
            f"{description} has unknown keys {unknown}. It takes "
            '{"array": samples, "sampling_rate": hertz}, {"path": ...} or {"bytes": ...}.'
        )
    declared = source.get("sampling_rate")
    if declared is not None:
        _check_sampling_rate(declared, "`sampling_rate` in the audio dict")
        declared = int(declared)
    for key in ("array", "raw"):
        if source.get(key) is not None:
            return source[key], declared
    for key in ("bytes", "path"):  # `datasets` yields both; the path may be of another machine, the bytes are at hand
        if source.get(key) is not None:
            inner = describe_audio(source[key])
            samples, own_rate = _read(source[key], inner, timeout_seconds)
            if declared is not None and own_rate is not None and declared != own_rate:
                raise AudioLoadingError(
                    f'{inner} states a sampling rate of {own_rate} Hz, but its dict says "sampling_rate": {declared}. '
                    "Leave it out, or correct it."
                )
            return samples, own_rate if own_rate is not None else declared
    raise AudioLoadingError(
        f"{description} holds no audio. It takes "
        '{"array": samples, "sampling_rate": hertz}, {"path": ...} or {"bytes": ...}.'
    )


def _decode(data: bytes, description: str) -> tuple[NDArray[np.float32], int]:
    """Decode the bytes of an audio file: samples of shape `(n_samples,)`, channels averaged, and their rate."""
    import soundfile

    if not data:
        raise AudioLoadingError(f"{description} is empty: it has 0 bytes.")
    try:
        file = soundfile.SoundFile(io.BytesIO(data))
        is_mp3 = file.format == "MP3"
        if is_mp3 and count_mp3_samples(data) > file.frames + _MP3_LENGTH_TOLERANCE:
            file = soundfile.SoundFile(io.BytesIO(with_mp3_index(data)))
    except (soundfile.SoundFileError, TypeError) as error:  # TypeError: headerless (raw) audio
        what = "not an audio file that can be decoded"
        if data[:256].lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
            what = "a web page"
        elif data[:4] in (b"RIFF", b"FORM", b"OggS", b"fLaC"):
            what = "damaged or truncated (it starts like an audio file, but cannot be decoded)"
        raise AudioLoadingError(
            f"{description} is {what} ({len(data)} bytes). Supported are wav, flac, mp3, ogg (Vorbis, Opus) and aiff; "
            "convert others first, for instance with `ffmpeg -i input output.wav`."
        ) from error
    with file:
        rate, expected = file.samplerate, file.frames
        try:
            samples = file.read(dtype="float32", always_2d=True)
        except soundfile.SoundFileError as error:
            raise AudioLoadingError(f"{description} is damaged or truncated: {error}.") from error
    # The length of an mp3 without an index is an estimate: nothing can be told from it.
    if len(samples) < expected and (not is_mp3 or has_mp3_index(data)):
        _raise_truncated(description, f"{len(samples) / rate:.2f} of {expected / rate:.2f} s are there")
    _check_container_length(data, description)
    if len(samples) == 0:
        raise AudioLoadingError(f"{description} is empty: it has a header of {rate} Hz and 0 samples.")
    return samples.mean(axis=1, dtype=np.float32), rate


def _check_container_length(data: bytes, description: str) -> None:
    """Raise if the file ends before its own header says so; libsndfile silently reads what is there."""
    if data[:4] in (b"RIFF", b"FORM"):
        byte_order, sound_chunk = ("little", b"data") if data[:4] == b"RIFF" else ("big", b"SSND")
        position = 12
        while position + 8 <= len(data):
            size = int.from_bytes(data[position + 4 : position + 8], byte_order)  # type: ignore[arg-type]
            if data[position : position + 4] == sound_chunk:
                present = len(data) - position - 8
                # A program that writes into a pipe cannot know the length and leaves a huge number.
                if present < size < 2**31 - 2**16:
                    _raise_truncated(description, f"{present} of {size} bytes of sound are there")
                return
            position += 8 + size + size % 2
    elif data[:4] == b"OggS":
        last_page = data.rfind(b"OggS")
        header = data[last_page : last_page + 27]
        num_segments = header[26] if len(header) == 27 else 0
        segments = data[last_page + 27 : last_page + 27 + num_segments]
        page_end = last_page + 27 + num_segments + sum(segments)
        if len(header) < 27 or len(segments) < num_segments or page_end > len(data):
            _raise_truncated(description, "its last Ogg page is cut off")
        if not header[5] & 0x04:
            warnings.warn(
                f"{description} has no end-of-stream mark: it may be truncated (or a recording of a live stream). "
                "What is there is used.",
                stacklevel=4,
            )


def _raise_truncated(description: str, detail: str) -> None:
    raise AudioLoadingError(f"{description} is truncated: {detail}. Copy or download the file again.")


def _download(url: str, timeout_seconds: float) -> bytes:
    advice = "Check the address, or download the file and pass its path."
    request = urllib.request.Request(url, headers={"User-Agent": _USER_AGENT})
    try:
        with urllib.request.urlopen(request, timeout=timeout_seconds) as response:
            return response.read()
    except urllib.error.HTTPError as error:
        raise AudioLoadingError(f"'{url}' answered HTTP {error.code} ({error.reason}). {advice}") from error
    except TimeoutError as error:
        raise AudioLoadingError(f"'{url}' did not answer within {timeout_seconds:g} s. {advice}") from error
    except urllib.error.URLError as error:
        if isinstance(error.reason, TimeoutError):
            raise AudioLoadingError(f"'{url}' did not answer within {timeout_seconds:g} s. {advice}") from error
        raise AudioLoadingError(f"'{url}' cannot be reached: {error.reason}. {advice}") from error
    except http.client.IncompleteRead as error:
        raise AudioLoadingError(
            f"The download of '{url}' broke off after {len(error.partial)} bytes. {advice}"
        ) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise AudioLoadingError(f"'{url}' cannot be downloaded: {error}. {advice}") from error


def _decode_base64(text: str, description: str) -> bytes:
    compact = "".join(urllib.parse.unquote(text).split()).replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return base64.b64decode(compact + "=" * (-len(compact) % 4), validate=True)
    except binascii.Error as error:
        raise AudioLoadingError(f"{description} is not valid base64: {error}.") from error


def _as_array(samples: Any, description: str) -> np.ndarray:
    if isinstance(samples, torch.Tensor):
        samples = samples.detach().cpu()
        return (samples.float() if samples.is_floating_point() else samples).numpy()
    if isinstance(samples, np.ndarray):
        return samples
    try:
        array = np.asarray(samples)
    except ValueError as error:
        raise AudioLoadingError(
            f"{description} does not form an array (lists of unequal length?): {error}."
        ) from error
    # An empty list has no type of its own.
    return array.astype(np.float32) if array.size == 0 else array


def _scale_to_float32(array: np.ndarray, description: str) -> NDArray[np.float32]:
    if array.dtype.kind == "f":
        return array.astype(np.float32, copy=False)
    if array.dtype in _INTEGER_SCALES:
        return np.divide(array, _INTEGER_SCALES[array.dtype], dtype=np.float64).astype(np.float32)
    if array.dtype == np.uint8:  # the one unsigned type of audio: 8-bit wav, silence at 128
        return (array.astype(np.float32) - np.float32(128)) / np.float32(128)
    raise AudioLoadingError(
        f"{description} has samples of type {array.dtype}, whose scale is not known. Pass floats in [-1, 1], or int16, "
        "int32, int8 or uint8 at full scale (16-bit samples in a wider type: `.astype('int16')`)."
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


def _resample(waveform: NDArray[np.float32], rate: int, target_rate: int, description: str) -> NDArray[np.float32]:
    import soxr

    resampled = soxr.resample(waveform, rate, target_rate, quality="HQ")
    if len(resampled) == 0:
        raise AudioLoadingError(
            f"{description} is too short: its {len(waveform)} samples at {rate} Hz are none at {target_rate} Hz."
        )
    return resampled.astype(np.float32, copy=False)


def _is_rate(value: Any) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


def _check_sampling_rate(rate: Any, name: str) -> int:
    low, high = SAMPLING_RATE_LIMITS_HZ
    if not _is_rate(rate) or not math.isfinite(rate) or rate != int(rate):
        raise AudioLoadingError(f"{name} must be a whole number of hertz, got {rate!r}.")
    if not low <= rate <= high:
        hint = f" If it is in kHz, pass {int(rate * 1000)}." if low <= rate * 1000 <= high else ""
        raise AudioLoadingError(f"{name} must lie between {low} and {high} Hz, got {rate}.{hint}")
    return int(rate)
