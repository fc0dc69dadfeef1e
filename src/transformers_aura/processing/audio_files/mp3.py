"""The true length of an MP3 file, and an index frame that states it.

An MP3 says how long it is only in an optional index ("Xing") in its first frame. Without one, libsndfile takes the first frame's bit rate
for that of the whole file, and reads no further than the length which follows from it: of a file of variable bit rate, or of several joined
into one (as streaming speech synthesis makes them), the rest would be lost without a word.

Source of the format: ISO/IEC 11172-3 and 13818-3 (frame header), and the Xing header as LAME and ffmpeg write it.
"""

from typing import NamedTuple

from .results import WholeFile, damaged, steps, truncated
from .tags import skip_tags


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
_HAS_NUM_FRAMES = 1
_MAX_TRIMMED_SAMPLES = 2 * 4095 + 2 * 1152  # what an index may take off both ends, and the decoder's delay


class _Frame(NamedTuple):
    version: int
    is_mono: bool
    sampling_rate_hz: int
    num_samples: int
    num_bytes: int

    def __str__(self) -> str:
        """What must not change within a file."""
        return f"{'mono' if self.is_mono else 'stereo'} at {self.sampling_rate_hz} Hz"


def is_mp3(data: bytes) -> bool:
    """Whether `data` starts with an MP3 frame that another one (or nothing) follows."""
    frame = _parse_frame(data, 0)
    return frame is not None and (
        len(data) <= frame.num_bytes + 4
        or skip_tags(data, frame.num_bytes) > frame.num_bytes
        or _parse_frame(data, frame.num_bytes) is not None
    )


def check_mp3(data: bytes) -> WholeFile:
    first = _parse_frame(data, 0)
    if first is None:
        raise damaged("it does not start with an MP3 frame")
    num_frames = _count_frames(data, first)
    stated = _stated_frames(data, first)
    if stated is not None and num_frames < stated:  # some encoders count the index, too
        raise truncated(f"{num_frames} of {stated} frames are there")
    if stated is None or num_frames > stated + 2:  # more frames are of files that were joined
        data = _index(data, first, num_frames) + data
    return WholeFile([data], min_samples=num_frames * first.num_samples - _MAX_TRIMMED_SAMPLES)


def _count_frames(data: bytes, first: _Frame) -> int:
    """Frames of the file, which must follow one another; tags in between are stepped over."""
    position, num_frames = 0, 0
    for _ in steps():
        if position >= len(data):
            break
        frame = _parse_frame(data, position)
        if frame is None:
            behind_tags = skip_tags(data, position)
            if behind_tags == position:
                if len(data) - position < 4:
                    raise truncated("its last MP3 frame is cut off")
                raise damaged(f"there is no MP3 frame at byte {position} of {len(data)}")
            position = behind_tags
            continue
        if frame[:3] != first[:3]:
            raise damaged(f"its frames change from {first} to {frame}, as where different recordings were joined")
        num_frames += 1
        position += frame.num_bytes
        if position > len(data):
            raise truncated("its last MP3 frame is cut off")
    return num_frames


def _stated_frames(data: bytes, first: _Frame) -> int | None:
    """What the first frame states as the number of the others, if it is an index."""
    for start in (4, 6):  # behind a checksum
        mark = start + _side_info_bytes(first)
        if any(data[start:mark]):  # a decoder takes it for sound
            continue
        if data[mark : mark + 4] in (b"Xing", b"Info") and data[mark + 7] & _HAS_NUM_FRAMES:
            return int.from_bytes(data[mark + 8 : mark + 12], "big")
    return None


def _index(data: bytes, first: _Frame, num_frames: int) -> bytes:
    """A silent frame that states the length."""
    header = bytearray(data[:4])
    header[1] |= 0x01  # no checksum
    header[2] = (_INDEX_BITRATE << 4) | (header[2] & 0x0C)  # no padding
    index = bytes(header) + bytes(_side_info_bytes(first)) + b"Xing"
    index += _HAS_NUM_FRAMES.to_bytes(4, "big") + num_frames.to_bytes(4, "big")
    num_bytes = (
        first.num_samples
        // 8
        * _KBIT_PER_SECOND[first.version == _MPEG_1][_INDEX_BITRATE]
        * 1000
        // first.sampling_rate_hz
    )
    return index.ljust(num_bytes, b"\0")


def _side_info_bytes(frame: _Frame) -> int:
    if frame.version == _MPEG_1:
        return 17 if frame.is_mono else 32
    return 9 if frame.is_mono else 17


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
    sampling_rate = _SAMPLING_RATES_HZ[version][rate]
    num_bytes = num_samples // 8 * _KBIT_PER_SECOND[version == _MPEG_1][bitrate] * 1000 // sampling_rate + padding
    return _Frame(version, header[3] >> 6 == _MONO, sampling_rate, num_samples, num_bytes)
