"""Pages of an Ogg file: whether all are there and undamaged, and where joined recordings begin.

libsndfile skips damaged pages without a word, and reads the first of several recordings that were joined into one file.

Source of the format: RFC 3533.
"""

import dataclasses
import zlib
from collections.abc import Iterator

from .results import BrokenFileError, WholeFile, damaged, steps, truncated
from .tags import skip_tags


_HEADER_BYTES = 27
_FIRST_PAGE, _LAST_PAGE = 0x02, 0x04
_REVERSED_BITS = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


@dataclasses.dataclass(frozen=True)
class _Page:
    start: int
    end: int
    flags: int
    stream: int
    number: int


def check_ogg(data: bytes) -> WholeFile:
    starts: list[int] = []
    last: _Page | None = None
    has_ended = True
    for page in _pages(data):
        if page.flags & _FIRST_PAGE:
            if last is not None and last.flags & _FIRST_PAGE:
                raise BrokenFileError(
                    "several streams in one (a video?): bring its sound into a file of its own, for instance with "
                    "`ffmpeg -i input -vn output.wav`."
                )
            starts.append(page.start)
        elif last is None:
            raise damaged("its first page is missing")
        elif page.stream != last.stream or page.number != last.number + 1:
            raise damaged(f"page {page.number} stands where page {last.number + 1} belongs")
        has_ended = has_ended and (last is None or not page.flags & _FIRST_PAGE or bool(last.flags & _LAST_PAGE))
        last = page
    has_ended = has_ended and last is not None and bool(last.flags & _LAST_PAGE)
    caution = None if has_ended else "has no end-of-stream mark: it may be truncated (or a recording of a live stream)"
    return WholeFile([data[a:b] for a, b in zip(starts, [*starts[1:], len(data)], strict=True)], caution)


def _pages(data: bytes) -> Iterator[_Page]:
    position = 0
    for _ in steps():
        if position >= len(data):
            return
        header = data[position : position + _HEADER_BYTES]
        if header[:4] != b"OggS"[: len(header)] or header[4:5] not in (b"", b"\0"):
            if skip_tags(data, position) == len(data):
                return
            raise damaged(f"there is no Ogg page at byte {position} of {len(data)}")
        num_segments = header[26] if len(header) == _HEADER_BYTES else 0
        segments = data[position + _HEADER_BYTES : position + _HEADER_BYTES + num_segments]
        end = position + _HEADER_BYTES + num_segments + sum(segments)
        if len(header) < _HEADER_BYTES or len(segments) < num_segments or end > len(data):
            raise truncated("its last Ogg page is cut off")
        if _checksum(header[:22] + bytes(4) + data[position + 26 : end]) != int.from_bytes(header[22:26], "little"):
            raise damaged(f"the checksum of its Ogg page at byte {position} is wrong")
        stream, number = (int.from_bytes(header[a : a + 4], "little") for a in (14, 18))
        yield _Page(position, end, header[5], stream, number)
        position = end


def _checksum(page: bytes) -> int:
    """Ogg's CRC is that of zlib with the bits of each byte and of the result the other way round, and nothing inverted."""
    crc = zlib.crc32(page.translate(_REVERSED_BITS), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(crc.to_bytes(4, "little").translate(_REVERSED_BITS), "big")
