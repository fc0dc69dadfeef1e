"""Bytes of an audio file to samples, once the file is known to be whole."""

import dataclasses
import itertools
import re
from collections.abc import Callable, Iterator

from ..audio_errors import AudioLoadingError
from ..audio_limits import AudioLimits
from .flac import check_flac
from .mp3 import check_mp3, is_mp3
from .ogg import check_ogg
from .phones import check_adts, check_matroska, check_mp4
from .results import Block, BrokenFileError, DecodedFile, UnsupportedFileError, WholeFile
from .sized import check_aiff, check_au, check_caf, check_nist, check_w64, check_wav
from .tags import skip_tags


_READS = "wav, flac, mp3, ogg (Vorbis, Opus), aiff, au, caf, NIST sphere, and with PyAV m4a, mp4, webm, aac and amr"
_ADVICE = "convert others first, for instance with `ffmpeg -i input output.wav`"
_EXTRA = "transformers-aura[formats]"


@dataclasses.dataclass(frozen=True)
class _Container:
    """A kind of file.

    Args:
        name: for people.
        start: what its files start with.
        check: see [`WholeFile`].
        ffmpeg_name: for what libsndfile does not decode.
        libsndfile: whether it decodes this kind at all.
    """

    name: str
    start: bytes
    check: Callable[[bytes], WholeFile]
    ffmpeg_name: str
    libsndfile: bool = True

    def holds(self, data: bytes) -> bool:
        return re.match(self.start, data, re.DOTALL) is not None


_MP3 = _Container("mp3", b"", check_mp3, "mp3")
_CONTAINERS = (
    _Container("wav", b"(RIFF|RIFX|RF64)....WAVE", check_wav, "wav"),
    _Container("wav (W64)", b"riff", check_w64, "w64"),
    _Container("flac", b"fLaC", check_flac, "flac"),
    _Container("ogg", b"OggS", check_ogg, "ogg"),
    _Container("aiff", b"FORM....AIF[FC]", check_aiff, "aiff"),
    _Container("au", b"[.]snd|dns[.]", check_au, "au"),
    _Container("caf", b"caff", check_caf, "caf"),
    _Container("NIST sphere", b"NIST_1A\n", check_nist, "nistsphere"),
    _Container("m4a or mp4", b"....(ftyp|moov|mdat|wide|free|skip)", check_mp4, "mp4", libsndfile=False),
    _Container("webm or matroska", b"\x1a\x45\xdf\xa3", check_matroska, "matroska", libsndfile=False),
    _Container("aac", b"\xff[\xf0\xf1\xf8\xf9]", check_adts, "aac", libsndfile=False),
    _Container("amr", b"#!AMR", lambda data: WholeFile([data]), "amr", libsndfile=False),
)
_NO_AUDIO = (
    (rb"\s*<(!doctype|html|\?xml)", "a web page"),
    (rb"version https://git-lfs", "a pointer of Git LFS, not the file itself (`git lfs pull` fetches it)"),
)


def decode(data: bytes, description: str, limits: AudioLimits) -> DecodedFile:
    """Check and decode an audio file.

    Raises:
        AudioLoadingError: no audio, an encoding that is not read, damage, or something beyond the limits. Damage that only decoding
            shows is raised by the blocks.
    """
    if not data:
        raise AudioLoadingError(f"{description} is empty: it has 0 bytes.")
    if data.startswith(b"ID3"):
        data = data[skip_tags(data) :]
    container = _MP3 if is_mp3(data) else next((kind for kind in _CONTAINERS if kind.holds(data)), None)
    if container is None:
        what = next(
            (what for start, what in _NO_AUDIO if re.match(start, data[:256], re.IGNORECASE)),
            "not an audio file that can be decoded",
        )
        raise AudioLoadingError(f"{description} is {what} ({len(data)} bytes). Supported are {_READS}; {_ADVICE}.")
    try:
        whole = container.check(data)
    except BrokenFileError as error:
        raise AudioLoadingError(f"{description} is {error}") from error
    rate, blocks = _open(container, whole.streams[0], description, limits)
    blocks = itertools.chain(blocks, _further(container, whole.streams[1:], rate, description, limits))
    return DecodedFile(_counted(blocks, whole.min_samples, rate, description), rate, whole.caution)


def _further(
    container: _Container, streams: list[bytes], rate: int, description: str, limits: AudioLimits
) -> Iterator[Block]:
    """Blocks of the recordings behind the first."""
    for stream in streams:
        other_rate, blocks = _open(container, stream, description, limits)
        if other_rate != rate:
            raise AudioLoadingError(
                f"{description} holds several recordings, one at {rate} Hz and one at {other_rate} Hz. Pass them one by one."
            )
        yield from blocks


def _counted(blocks: Iterator[Block], min_samples: int, rate: int, description: str) -> Iterator[Block]:
    num_samples = 0
    for block in blocks:
        num_samples += len(block)
        yield block
    if num_samples < min_samples:
        raise AudioLoadingError(
            f"{description} is damaged: {num_samples / rate:.2f} of {min_samples / rate:.2f} s can be decoded. Copy or download "
            "the file again."
        )


def _open(container: _Container, stream: bytes, description: str, limits: AudioLimits) -> tuple[int, Iterator[Block]]:
    # These imports load libraries, which samples at hand do without.
    from .libsndfile import open_with_libsndfile
    from .pyav import open_with_pyav

    reason = f"is {container.name}"
    if container.libsndfile:
        try:
            return open_with_libsndfile(stream, description, limits)
        except UnsupportedFileError as error:
            reason = f"is {container.name} that libsndfile cannot decode ({error})"
    try:
        return open_with_pyav(stream, container.ffmpeg_name, description, limits)
    except ImportError:
        raise AudioLoadingError(
            f"{description} {reason}. `pip install '{_EXTRA}'` makes it readable, or {_ADVICE}."
        ) from None
    except UnsupportedFileError as error:
        raise AudioLoadingError(
            f"{description} {reason}, and ffmpeg cannot either ({error}): it is damaged, or of a rare encoding. Try to {_ADVICE}."
        ) from error
