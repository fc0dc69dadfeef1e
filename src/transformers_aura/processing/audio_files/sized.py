"""Containers whose header says how many bytes of sound there are: wav (RIFF, RF64, W64), aiff, caf, au and NIST sphere.

libsndfile reads what is there without a word where a header says more, and leaves the rest where it says less.

Sources of the formats: Microsoft's "Multimedia Programming Interface" (RIFF), EBU Tech 3306 (RF64), Sony's note on Wave64, Apple's AIFF 1.3
and CAF 1.0, Sun's `audio(4)`, NIST's SPHERE manual.
"""

import dataclasses
import re
from collections.abc import Iterator
from typing import Literal, TypeAlias

from .mp3 import check_mp3
from .results import WholeFile, damaged, truncated
from .tags import skip_tags


_Order: TypeAlias = Literal["little", "big"]

_STREAMED_SIZE = 0x7F000000
"""A program that writes into a pipe cannot know the length. It leaves a number from this one on (SoX), or 0."""

_MAX_CHUNKS = 10_000
_PCM, _FLOAT, _ALAW, _MULAW, _MPEG_LAYER_3, _EXTENSIBLE = 1, 3, 6, 7, 0x55, 0xFFFE
_CHUNK_ID = re.compile(rb"[ -~]{4}")
_W64_CHUNK_ID = re.compile(
    rb"[ -~]{4}(\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a|.\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00)",
    re.DOTALL,
)
_RECORDINGS = (b"RIFF", b"RIFX", b"RF64", b"riff", b"FORM", b"caff", b"data", b"SSND")


@dataclasses.dataclass(frozen=True)
class _Layout:
    """How a container writes its chunks: an id, a size, what it holds, padding."""

    order: _Order = "little"
    id_bytes: int = 4
    size_bytes: int = 4
    size_holds_header: bool = False
    alignment: int = 2

    def chunks(self, data: bytes, position: int) -> Iterator["_Chunk"]:
        """Chunk by chunk; one without an id for bytes that are none."""
        header = self.id_bytes + self.size_bytes
        for _ in range(_MAX_CHUNKS):
            aligned = position + -position % self.alignment
            position = aligned if self._is_id(data, aligned) or not self._is_id(data, position) else position
            if len(data) < position + header or not self._is_id(data, position):
                break
            size = int.from_bytes(data[position + self.id_bytes : position + header], self.order)
            size -= header * self.size_holds_header
            yield _Chunk(data[position : position + 4], position + header, size)
            position += header + max(size, 0)
        if position < len(data):
            yield _Chunk(b"", position, len(data) - position)

    def _is_id(self, data: bytes, position: int) -> bool:
        name = data[position : position + self.id_bytes]
        return (_CHUNK_ID if self.id_bytes == 4 else _W64_CHUNK_ID).fullmatch(name) is not None


@dataclasses.dataclass(frozen=True)
class _Chunk:
    id: bytes
    start: int  # of what it holds
    size: int  # of that, as stated


_RIFF = _Layout()
_RIFX = _Layout(order="big")
_W64 = _Layout(id_bytes=16, size_bytes=8, size_holds_header=True, alignment=8)
_CAF = _Layout(order="big", size_bytes=8, alignment=1)


def check_wav(data: bytes) -> WholeFile:
    layout = _RIFX if data[:4] == b"RIFX" else _RIFF
    found, rest = _split(data, layout.chunks(data, 12), b"data")
    encoding = _check_wav_format(_held(data, found, b"fmt "), layout.order)
    sound = found[b"data"]
    size, field = sound.size, (sound.start - 4, 4, layout.order)
    if data[:4] == b"RF64":
        if b"ds64" not in found:
            raise damaged("it has no chunk 'ds64', which holds its size")
        field = (found[b"ds64"].start + 8, 8, layout.order)
        size = int.from_bytes(data[field[0] : field[0] + 8], layout.order)
        rest = list(layout.chunks(data, sound.start + size))
    # Both sizes are wrong where a recorder was killed; a wav without a sound has the right one in front.
    is_unfinished = size == 0 and 8 + int.from_bytes(data[4:8], layout.order) != len(data)
    is_streamed = is_unfinished or size >= _STREAMED_SIZE > len(data)
    whole = _whole(data, sound.start, size, is_streamed, field, rest)
    if encoding == _MPEG_LAYER_3:
        return check_mp3(data[sound.start :] if is_streamed else data[sound.start : sound.start + size])
    return whole


def check_w64(data: bytes) -> WholeFile:
    found, rest = _split(data, _W64.chunks(data, 40), b"data")
    _check_wav_format(_held(data, found, b"fmt "), "little")
    sound = found[b"data"]
    is_streamed = sound.size <= 0 or sound.size >= 2**62
    return _whole(data, sound.start, sound.size, is_streamed, (sound.start - 8, 8, "little"), rest, overhead=24)


def check_aiff(data: bytes) -> WholeFile:
    found, rest = _split(data, _RIFX.chunks(data, 12), b"SSND")
    common = _held(data, found, b"COMM")
    if len(common) < 18:
        raise damaged("its chunk 'COMM' is too short")
    channels, num_frames, bits = (int.from_bytes(common[a:b], "big") for a, b in ((0, 2), (2, 6), (6, 8)))
    sound = found[b"SSND"]
    start = sound.start + 8  # behind an offset and a block size
    is_streamed = sound.size <= 8 or sound.size >= _STREAMED_SIZE > len(data)
    if not is_streamed and data[8:12] == b"AIFF" and num_frames * channels * ((bits + 7) // 8) != sound.size - 8:
        raise damaged(
            f"its header speaks of {num_frames} x {channels} samples of {bits} bits, and of {sound.size - 8} bytes of sound"
        )
    return _whole(data, start, sound.size - 8, is_streamed, (sound.start - 4, 4, "big"), rest, overhead=8)


def check_caf(data: bytes) -> WholeFile:
    found, rest = _split(data, _CAF.chunks(data, 8), b"data")
    sound = found[b"data"]
    start = sound.start + 4  # behind a count of edits
    is_streamed = sound.size <= 4 or sound.size >= 2**63
    whole = _whole(data, start, sound.size - 4, is_streamed, (sound.start - 8, 8, "big"), rest, overhead=4)
    if _held(data, found, b"desc")[8:12] in (b"lpcm", b"ulaw", b"alaw"):
        return whole
    packets = _held(data, found | {chunk.id: chunk for chunk in rest}, b"pakt")  # their sizes, and how much they hold
    num_packets, num_samples = (int.from_bytes(packets[a:b], "big") for a, b in ((0, 8), (8, 16)))
    if num_packets == 0 or num_samples == 0:
        raise damaged("its chunk 'pakt' counts no packets")
    return dataclasses.replace(whole, min_samples=num_samples)


def check_au(data: bytes) -> WholeFile:
    order: _Order = "big" if data[:4] == b".snd" else "little"
    start, size = (int.from_bytes(data[at : at + 4], order) for at in (4, 8))
    if start < 24 or len(data) < start:
        raise truncated("it ends before its sound")
    return _whole(data, start, size, size in (0, 0xFFFFFFFF), (8, 4, order), _trailer(data, start + size))


def check_nist(data: bytes) -> WholeFile:
    fields = dict(re.findall(rb"(\w+) -i (\d+)", data[:1024]))
    lines = data[:1024].split(b"\n")
    try:
        start = int(lines[1])
        size = int(fields[b"sample_count"]) * int(fields.get(b"channel_count", 1)) * int(fields[b"sample_n_bytes"])
    except (IndexError, KeyError, ValueError):
        raise damaged("its header lacks `sample_count` or `sample_n_bytes`") from None
    return _whole(data, start, size, False, None, _trailer(data, start + size))


def _split(data: bytes, chunks: Iterator[_Chunk], sound_id: bytes) -> tuple[dict[bytes, _Chunk], list[_Chunk]]:
    """The chunks up to the sound, by id, and those behind it."""
    found: dict[bytes, _Chunk] = {}
    for chunk in chunks:
        if not chunk.id:
            raise damaged(f"{chunk.size} bytes from byte {chunk.start} on belong to no chunk")
        found.setdefault(chunk.id, chunk)
        if chunk.id == sound_id:
            return found, list(chunks)
    raise truncated("it ends before its sound")


def _held(data: bytes, found: dict[bytes, _Chunk], chunk_id: bytes) -> bytes:
    if chunk_id not in found:
        raise damaged(f"it has no chunk '{chunk_id.decode('ascii').strip()}'")
    chunk = found[chunk_id]
    return data[chunk.start : chunk.start + chunk.size]


def _trailer(data: bytes, position: int) -> list[_Chunk]:
    return [_Chunk(b"", position, len(data) - position)] if position < len(data) else []


def _whole(
    data: bytes,
    start: int,
    size: int,
    is_streamed: bool,
    field: tuple[int, int, _Order] | None,
    rest: list[_Chunk],
    overhead: int = 0,
) -> WholeFile:
    """The file, once `size` bytes of sound from `start` on and no more are known to be there.

    Where its writer did not know the length, the size is put into `field` (where, bytes, order), `overhead` included.
    """
    present = max(0, len(data) - start)
    if is_streamed and field is not None:
        position, num_bytes, order = field
        true_size = (present + overhead).to_bytes(num_bytes, order)
        return WholeFile([data[:position] + true_size + data[position + num_bytes :]])
    if present < size:
        raise truncated(f"{present} of {size} bytes of sound are there")
    for chunk in rest:
        if chunk.id in _RECORDINGS:
            raise damaged(f"a second recording follows the first, from byte {chunk.start} on")
        is_whole_chunk = chunk.id and chunk.start + chunk.size <= len(data)
        trailer = b"" if is_whole_chunk else data[chunk.start - 8 * bool(chunk.id) :]
        if trailer[skip_tags(trailer) :].strip(b"\0\r\n "):
            raise damaged(f"{size} bytes of sound are stated, and {len(trailer)} that belong to nothing follow")
    return WholeFile([data])


def _check_wav_format(held: bytes, order: _Order) -> int:
    """The tag of the encoding. Raise if the numbers of a chunk 'fmt ' contradict each other: then the rate or the channels are wrong."""
    if len(held) < 16:
        raise damaged("its chunk 'fmt' is too short")
    tag, channels, rate, bytes_per_second, block_bytes, bits = (
        int.from_bytes(held[a:b], order) for a, b in ((0, 2), (2, 4), (4, 8), (8, 12), (12, 14), (14, 16))
    )
    if tag == _EXTENSIBLE and len(held) >= 26:
        tag = int.from_bytes(held[24:26], order)
    if tag not in (_PCM, _FLOAT, _ALAW, _MULAW):
        return tag  # compressed in blocks
    may_be_padded = 16 < bits < 32 and block_bytes == 4 * channels
    if not (block_bytes == channels * ((bits + 7) // 8) or may_be_padded) or bytes_per_second not in (
        0,
        rate * block_bytes,
    ):
        raise damaged(
            f"its header contradicts itself ({channels} channels of {bits} bits at {rate} Hz in blocks of {block_bytes} bytes, "
            f"{bytes_per_second} bytes a second)"
        )
    return tag
