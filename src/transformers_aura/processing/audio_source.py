"""What a caller hands over as audio, and the samples or the file in it."""

import base64
import os
import re
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch

from .audio_errors import AudioLoadingError
from .audio_files.decoding import decode
from .audio_files.download import download
from .audio_files.reading import SupportsRead, read_open_file, read_path
from .audio_limits import AudioLimits, check_sampling_rate, is_number


AudioSource: TypeAlias = (
    str | os.PathLike | bytes | bytearray | memoryview | SupportsRead | Mapping | np.ndarray | torch.Tensor | Sequence
)
"""What [`load_audio`] takes (an `AudioDecoder` of `datasets` is taken too)."""

AUDIO_DICT_KEYS = ("array", "raw", "bytes", "path", "sampling_rate")
"""Keys of the dict form of an [`AudioSource`]: samples (`array` or `raw`) or a file (`bytes` or `path`), and a rate."""

_URL = re.compile(r"\s*([a-z][a-z0-9+.-]+://|data:)", re.IGNORECASE)
_BASE64_TEXT = re.compile(r"[A-Za-z0-9+/_-]+={0,2}")
_MIN_BASE64_LENGTH = 64  # the shortest audio file there is (a WAV header) is longer; most mistyped paths are not
_MAX_PATH_LENGTH = 4096
_MAX_QUOTED_CHARACTERS = 2**20  # a second's work; base64 needs next to none


class RawAudio(NamedTuple):
    """What a source holds: samples block by block, of any shape and type; its rate in hertz, if it states one; a caution."""

    blocks: Iterable[Any]
    sampling_rate: int | None
    caution: str | None = None


def read_source(source: Any, description: str, limits: AudioLimits) -> RawAudio:
    """Samples of `source`, fetched and decoded if need be.

    Raises:
        AudioLoadingError: see [`~transformers_aura.load_audio`].
    """
    if isinstance(source, str):
        return _read_text(source, description, limits)
    if isinstance(source, os.PathLike):
        return _read_file(Path(os.fsdecode(source)), description, limits)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _decode(bytes(source), description, limits)
    if isinstance(source, Mapping):
        return _read_dict(source, description, limits)
    if is_array_with_rate(source):
        first, second = source
        samples, rate = (second, first) if is_number(first) else (first, second)
        return RawAudio([samples], check_sampling_rate(rate, "The rate beside the samples"))
    if isinstance(source, (np.ndarray, torch.Tensor, list, tuple)):
        return RawAudio([source], None)
    if is_audio_decoder(source):
        try:
            decoded = source.get_all_samples()
        except Exception as error:  # torchcodec does not say which there are
            raise AudioLoadingError(f"{description} cannot be decoded: {error}.") from error
        rate = check_sampling_rate(decoded.sample_rate, f"The sampling rate of {description}")
        return RawAudio([decoded.data.mean(dim=0)], rate)  # `data` is (channels, n_samples)
    if isinstance(source, SupportsRead):
        return _decode(read_open_file(source, description, limits), description, limits)
    raise AudioLoadingError(
        f"Audio of type {type(source).__name__} is not supported. Pass a path, URL, bytes, file opened in binary mode, "
        'numpy array, torch tensor, list of floats, or {"array": ..., "sampling_rate": ...}.'
    )


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
    return (is_number(first) and isinstance(second, (np.ndarray, torch.Tensor))) or (
        isinstance(first, (np.ndarray, torch.Tensor)) and is_number(second)
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
    compact = "".join(source.split())
    looks_like_base64 = len(compact) >= _MIN_BASE64_LENGTH and _BASE64_TEXT.fullmatch(compact)
    # A path may look like that too (without a dot, so without an extension): it wins if it exists.
    return not looks_like_base64 or (len(source) <= _MAX_PATH_LENGTH and os.path.exists(source))


def describe_audio(source: Any) -> str:
    """A short name of an audio source for messages, never the data itself."""
    if isinstance(source, str):
        if source.startswith("data:"):
            return f"the `data:` URL of {len(source)} characters"
        if len(source) > 200 or not (_URL.match(source) or is_path(source)):
            return f"the text of {len(source)} characters ('{_printable(source[:24])}...')"
        return f"'{_printable(source)}'"
    if isinstance(source, os.PathLike):
        return f"'{_printable(os.fsdecode(source))}'"
    if isinstance(source, (bytes, bytearray, memoryview)):
        return f"the {len(source)} bytes given as audio"
    if isinstance(source, Mapping):
        return f"the audio dict with keys {sorted(map(str, source))}"
    if isinstance(source, torch.Tensor) and source.is_nested:
        return "the nested tensor"
    if isinstance(source, (np.ndarray, torch.Tensor)):
        return f"the {str(source.dtype).removeprefix('torch.')} array of shape {tuple(source.shape)}"
    if isinstance(source, (list, tuple)):
        return f"the {type(source).__name__} of {len(source)} values given as audio"
    return f"the audio given as {type(source).__name__}"


def _printable(text: str) -> str:
    """Text that every console of UTF-8 takes: a file's name may hold bytes that are none."""
    return text.encode(errors="backslashreplace").decode()


def _decode(data: bytes, description: str, limits: AudioLimits) -> RawAudio:
    decoded = decode(data, description, limits)
    return RawAudio(decoded.blocks, decoded.sampling_rate, decoded.caution)


def _read_text(source: str, description: str, limits: AudioLimits) -> RawAudio:
    scheme = source.strip()[:8].lower()
    if scheme.startswith(("http://", "https://")):
        return _decode(download(source, description, limits), description, limits)
    if scheme.startswith("data:"):
        header, comma, payload = source.partition(",")
        if not comma:
            raise AudioLoadingError(f"{description} has no comma between its media type and its data.")
        if payload.count("%") > _MAX_QUOTED_CHARACTERS:
            raise AudioLoadingError(f"{description} is quoted character by character: write its data as base64.")
        if header.strip().lower().endswith(";base64"):
            return _decode(_decode_base64(urllib.parse.unquote(payload), description), description, limits)
        return _decode(urllib.parse.unquote_to_bytes(payload), description, limits)
    if scheme.startswith("file://"):
        path = Path(urllib.request.url2pathname(urllib.parse.urlsplit(source.strip()).path))
        return _read_file(path, description, limits)
    if not source:
        raise AudioLoadingError("The path of the audio is empty.")
    if _URL.match(source):
        raise AudioLoadingError(
            f"{description} is an address of a kind that is not read: pass http(s), a path or bytes."
        )
    if is_path(source):
        return _read_file(Path(source), description, limits)
    return _decode(_decode_base64(source, description), description, limits)


def _read_file(path: Path, description: str, limits: AudioLimits) -> RawAudio:
    return _decode(read_path(path, description, limits), description, limits)


def _read_dict(source: Mapping, description: str, limits: AudioLimits) -> RawAudio:
    unknown = sorted(str(key) for key in source if key not in AUDIO_DICT_KEYS)
    if unknown:
        raise AudioLoadingError(
            f"{description} has unknown keys {unknown}. It takes "
            '{"array": samples, "sampling_rate": hertz}, {"path": ...} or {"bytes": ...}.'
        )
    declared = source.get("sampling_rate")
    if declared is not None:
        declared = check_sampling_rate(declared, "`sampling_rate` in the audio dict")
    for key in ("array", "raw"):
        if source.get(key) is not None:
            return RawAudio([source[key]], declared)
    for key in ("bytes", "path"):  # `datasets` yields both; the path may be of another machine, the bytes are at hand
        held = source.get(key)
        if held is None:
            continue
        inner = describe_audio(held)
        if not isinstance(held, (str, os.PathLike, bytes, bytearray, memoryview, SupportsRead)):
            raise AudioLoadingError(f'"{key}" in {description} must be a file or its bytes, got {inner}.')
        audio = read_source(held, inner, limits)
        if declared is not None and audio.sampling_rate != declared:
            raise AudioLoadingError(
                f'{inner} states a sampling rate of {audio.sampling_rate} Hz, but its dict says "sampling_rate": {declared}. '
                "Leave it out, or correct it."
            )
        return audio
    raise AudioLoadingError(
        f"{description} holds no audio. It takes "
        '{"array": samples, "sampling_rate": hertz}, {"path": ...} or {"bytes": ...}.'
    )


def _decode_base64(text: str, description: str) -> bytes:
    compact = "".join(text.split()).replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return base64.b64decode(compact + "=" * (-len(compact) % 4), validate=True)
    except ValueError as error:
        raise AudioLoadingError(f"{description} is not valid base64: {error}.") from error
