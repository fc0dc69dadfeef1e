"""Tags of titles and pictures that stand before, between or behind the frames of an audio file."""

import re


_PADDING = re.compile(rb"\0{1,1024}(?!\0)")  # more would be a hole
_LYRICS = re.compile(rb"LYRICSBEGIN.*?LYRICS200", re.DOTALL)


def skip_tags(data: bytes, position: int = 0) -> int:
    """Where the sound goes on behind the tag (ID3, APE, Lyrics3) or the zeros at `position`; `position` if there are none."""
    tag = data[position : position + 32]
    if tag[:3] == b"ID3" and len(tag) >= 10:
        size = (tag[6] << 21) | (tag[7] << 14) | (tag[8] << 7) | tag[9]
        return position + 10 + size + (10 if tag[5] & 0x10 else 0)
    if tag[:3] == b"TAG":
        return position + 128
    if tag[:8] == b"APETAGEX" and len(tag) == 32:
        return position + 32 + (int.from_bytes(tag[12:16], "little") if tag[23] & 0x20 else 0)
    match = _PADDING.match(data, position) or _LYRICS.match(data, position)
    return match.end() if match is not None else position
