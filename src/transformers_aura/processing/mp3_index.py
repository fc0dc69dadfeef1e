"""The true length of an MP3 file, and an index frame that states it.

An MP3 says how long it is only in an optional index ("Xing") in its first frame. Without one, libsndfile takes the first
frame's bit rate for that of the whole file, and reads no further than the length which follows from it: of a file of variable
bit rate, or of several joined into one (as streaming speech synthesis makes them), the rest would be lost without a word.

Source of the format: ISO/IEC 11172-3 and 13818-3 (frame header), and the Xing header as LAME and ffmpeg write it.
"""

import dataclasses


_KBIT_PER_SECOND = {  # by whether it is MPEG 1
    True: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    False: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_SAMPLING_RATES_HZ = {  # by the version field: MPEG 2.5, 2, 1
    0: (11_025, 12_000, 8_000),
    2: (22_050, 24_000, 16_000),
    3: (44_100, 48_000, 32_000),
}
_MPEG_1 = 3
_LAYER_3 = 1
_MONO = 3
_INDEX_BITRATE = 9  # 128 or 80 kbit/s: a frame long enough for the index at every sampling rate


@dataclasses.dataclass(frozen=True)
class _Frame:
    version: int
    channel_mode: int
    num_bytes: int
    num_samples: int


def count_mp3_samples(data: bytes) -> int:
    """Samples per channel of all frames of an MP3 file, by walking from frame to frame."""
    position, num_samples = _after_tag(data, 0), 0
    while position + 4 <= len(data):
        frame = _parse_frame(data, position)
        if frame is None:
            position = _next_frame(data, position)
        else:
            num_samples += frame.num_samples
            position += frame.num_bytes
    return num_samples


def has_mp3_index(data: bytes) -> bool:
    """Whether the first frame of an MP3 file is an index that states its length."""
    start = _first_frame(data)
    frame = _parse_frame(data, start)
    return frame is not None and any(
        mark in data[start : start + frame.num_bytes] for mark in (b"Xing", b"Info", b"VBRI")
    )


def with_mp3_index(data: bytes) -> bytes:
    """The MP3 file with an index frame of its true length in front.

    Raises:
        ValueError: `data` has no MP3 frame.
    """
    start = _first_frame(data)
    first = _parse_frame(data, start)
    if first is None:
        raise ValueError("There is no MP3 frame in the data.")
    header = bytearray(data[start : start + 4])
    header[1] |= 0x01  # no checksum
    header[2] = (_INDEX_BITRATE << 4) | (header[2] & 0x0C)  # no padding
    is_mono = first.channel_mode == _MONO
    if first.version == _MPEG_1:
        side_info = 17 if is_mono else 32
    else:
        side_info = 9 if is_mono else 17
    num_frames = count_mp3_samples(data) // first.num_samples
    index = bytes(header) + bytes(side_info) + b"Xing" + (1).to_bytes(4, "big") + num_frames.to_bytes(4, "big")
    frame = _parse_frame(bytes(header), 0)
    if frame is None:
        raise ValueError("The first MP3 frame cannot be copied.")
    return index.ljust(frame.num_bytes, b"\0") + data[start:]


def _parse_frame(data: bytes, position: int) -> _Frame | None:
    """The frame whose header is at `position`, or `None` if there is no Layer III header."""
    header = data[position : position + 4]
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    version, layer = (header[1] >> 3) & 3, (header[1] >> 1) & 3
    bitrate, rate, padding = header[2] >> 4, (header[2] >> 2) & 3, (header[2] >> 1) & 1
    if version == 1 or layer != _LAYER_3 or bitrate in (0, 15) or rate == 3:
        return None
    num_samples = 1152 if version == _MPEG_1 else 576
    kbit_per_second = _KBIT_PER_SECOND[version == _MPEG_1][bitrate]
    num_bytes = num_samples // 8 * kbit_per_second * 1000 // _SAMPLING_RATES_HZ[version][rate] + padding
    return _Frame(version, header[3] >> 6, num_bytes, num_samples)


def _first_frame(data: bytes) -> int:
    start = _after_tag(data, 0)
    return start if _parse_frame(data, start) is not None else _next_frame(data, start)


def _next_frame(data: bytes, position: int) -> int:
    """Start of the next frame after `position` that another one follows; the end of `data` if there is none."""
    if data[position : position + 3] == b"ID3":
        return _after_tag(data, position)
    while (position := data.find(b"\xff", position + 1)) >= 0:
        frame = _parse_frame(data, position)
        if frame is not None and _parse_frame(data, position + frame.num_bytes) is not None:
            return position
    return len(data)


def _after_tag(data: bytes, position: int) -> int:
    """Where the audio starts after an ID3v2 tag at `position`, if there is one."""
    tag = data[position : position + 10]
    if len(tag) < 10 or tag[:3] != b"ID3":
        return position
    size = (tag[6] << 21) | (tag[7] << 14) | (tag[8] << 7) | tag[9]
    return position + 10 + size + (10 if tag[5] & 0x10 else 0)
