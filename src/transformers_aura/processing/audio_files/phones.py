"""Containers that phones and browsers record into: mp4 and m4a, webm and matroska, bare aac. ffmpeg decodes them, and skips what is damaged.

Sources of the formats: ISO/IEC 14496-12 (boxes), RFC 8794 and 9559 (EBML, Matroska), ISO/IEC 14496-3 (ADTS).
"""

from collections.abc import Iterator

from .results import WholeFile, damaged, steps, truncated
from .tags import skip_tags


_EBML, _SEGMENT, _CLUSTER, _SIMPLE_BLOCK = 0x1A45DFA3, 0x18538067, 0x1F43B675, 0xA3
_TRACKS, _TRACK_ENTRY, _TRACK_NUMBER = 0x1654AE6B, 0xAE, 0xD7
# Seek head, info, tracks, cluster, cues, attachments, chapters, tags.
_IN_SEGMENT = {0x114D9B74, 0x1549A966, _TRACKS, _CLUSTER, 0x1C53BB6B, 0x1941A469, 0x1043A770, 0x1254C367}
# Timestamp, silent tracks, position, previous size, simple block, block group, encrypted block.
_IN_CLUSTER = {0xE7, 0x5854, 0xA7, 0xAB, _SIMPLE_BLOCK, 0xA0, 0xAF}
_ANYWHERE = {0xEC, 0xBF}  # void, checksum


def check_mp4(data: bytes) -> WholeFile:
    position, num_recordings = 0, 0
    for _ in steps():
        if position >= len(data):
            break
        size, name = int.from_bytes(data[position : position + 4], "big"), data[position + 4 : position + 8]
        if size == 1:
            size = int.from_bytes(data[position + 8 : position + 16], "big")
        elif size == 0 and name:  # to the end
            break
        if size < 8 or not name.isascii():
            if skip_tags(data, position) == len(data):
                break
            raise damaged(f"there is no box at byte {position} of {len(data)}")
        num_recordings += name == b"moov"
        if num_recordings > 1:
            raise damaged("a second recording follows the first")
        position += size
    if position > len(data):
        raise truncated(f"{len(data)} of {position} bytes are there")
    return WholeFile([data])


def check_matroska(data: bytes) -> WholeFile:
    position, num_recordings = 0, 0
    known: set[int] = set()  # what may stand where the walk is
    tracks: set[int] = set()
    for _ in steps():
        if position >= len(data):
            break
        element, size, start = _element(data, position)
        if element == _EBML:
            num_recordings += 1
            if num_recordings > 1:
                raise damaged("a second recording follows the first")
            known = {_SEGMENT}
        elif element in (_SEGMENT, *_IN_SEGMENT) and known:
            known = _IN_SEGMENT | (_IN_CLUSTER if element == _CLUSTER else set())
        elif element not in known | _ANYWHERE:
            raise damaged(f"there is no element at byte {position} of {len(data)}")
        if size is not None and start + size > len(data):
            raise truncated(f"{len(data)} of {start + size} bytes are there")
        if element == _TRACKS and size is not None:
            tracks = {0x80 | number for number in _track_numbers(data, start, start + size)}  # as a block writes it
        elif (
            element == _SIMPLE_BLOCK and int.from_bytes(data[start : start + 1], "big") not in tracks
        ):  # ffmpeg would leave out what follows
            raise damaged(f"the block at byte {position} belongs to no track")
        if element in (_SEGMENT, _CLUSTER):
            position = start  # what it holds comes next
        elif size is None:
            raise damaged(f"the element at byte {position} has no size")
        else:
            position = start + size
    return WholeFile([data])


def _track_numbers(data: bytes, position: int, end: int) -> Iterator[int]:
    for _ in steps():
        if position >= end:
            return
        element, size, start = _element(data, position)
        if element == _TRACK_ENTRY:
            position = start
            continue
        if element == _TRACK_NUMBER:
            yield int.from_bytes(data[start : start + (size or 0)], "big")
        position = start + (size or 0)


def check_adts(data: bytes) -> WholeFile:
    position = 0
    for _ in steps():
        if position >= len(data):
            break
        header = data[position : position + 7]
        size = (header[3] & 3) << 11 | header[4] << 3 | header[5] >> 5 if len(header) == 7 else 0
        if len(header) == 7 and header[0] == 0xFF and header[1] & 0xF6 == 0xF0 and size >= 7:
            position += size
        elif (behind_tags := skip_tags(data, position)) > position:
            position = behind_tags
        elif len(header) < 7:
            raise truncated("its last frame is cut off")
        else:
            raise damaged(f"there is no AAC frame at byte {position} of {len(data)}")
    if position > len(data):
        raise truncated("its last frame is cut off")
    return WholeFile([data])


def _element(data: bytes, position: int) -> tuple[int, int | None, int]:
    """Id and size of an EBML element (`None`: not known, of a live recording), and where what it holds starts."""
    id_bytes = 9 - data[position].bit_length()
    start = position + id_bytes
    if id_bytes > 4:
        raise damaged(f"there is no element at byte {position} of {len(data)}")
    if start >= len(data):
        raise truncated("its last element is cut off")
    size_bytes = 9 - data[start].bit_length()
    if size_bytes > 8 or start + size_bytes > len(data):
        raise truncated("its last element is cut off")
    mask = (1 << 7 * size_bytes) - 1
    size = int.from_bytes(data[start : start + size_bytes], "big") & mask
    return int.from_bytes(data[position:start], "big"), None if size == mask else size, start + size_bytes
