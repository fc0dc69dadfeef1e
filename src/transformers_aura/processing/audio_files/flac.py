"""The true length of a FLAC file, from the headers of its frames.

An encoder that writes into a pipe leaves a length of 0, and files joined into one keep that of the first: libsndfile reads no further than
the length which a file states.

Source of the format: RFC 9639.
"""

import dataclasses
import re

from .results import WholeFile, damaged, truncated


_STREAM_START = re.compile(rb"fLaC[\x00\x80]\x00\x00\x22")
_FRAME_START = re.compile(rb"\xff[\xf8\xf9]")
_RATES_HZ = (
    0,
    88_200,
    176_400,
    192_000,
    8_000,
    16_000,
    22_050,
    24_000,
    32_000,
    44_100,
    48_000,
    96_000,
)  # 0: as stated in front
_MIN_FALSE_STARTS, _BYTES_PER_FALSE_START = (
    10_000,
    10_000,
)  # chance makes one in 30,000 bytes; a file full of them would take hours


@dataclasses.dataclass(frozen=True)
class _Frame:
    number: int  # of its first sample, or of the frame
    counts_samples: bool
    size_code: int
    num_samples: int
    rate_hz: int
    channels: int


def check_flac(data: bytes) -> WholeFile:
    starts = [match.start() for match in _STREAM_START.finditer(data)]
    if not starts or starts[0] != 0:
        raise damaged("it does not start with a STREAMINFO block")
    ends = [*starts[1:], len(data)]
    return WholeFile([_with_true_length(data[start:end]) for start, end in zip(starts, ends, strict=True)])


def _with_true_length(data: bytes) -> bytes:
    position, is_last = 4, False
    while not is_last:
        if position + 4 > len(data):
            raise truncated("it ends before its sound")
        is_last = data[position] >= 0x80
        position += 4 + int.from_bytes(data[position + 1 : position + 4], "big")
    info = int.from_bytes(data[18:26], "big")
    rate, channels, stated = info >> 44, (info >> 41 & 7) + 1, info & (2**36 - 1)
    if rate == 0:
        raise damaged("its header states 0 Hz")
    num_samples = _count_samples(data, position, rate, channels)
    if num_samples < stated:
        raise truncated(f"{num_samples / rate:.2f} of {stated / rate:.2f} s are there")
    if 0 < stated < num_samples:
        raise damaged(f"{stated / rate:.2f} s are stated, and {num_samples / rate:.2f} s are there")
    if num_samples == stated:
        return data
    return data[:18] + (info - stated + num_samples).to_bytes(8, "big") + data[26:]


def _count_samples(data: bytes, position: int, rate: int, channels: int) -> int:
    """Samples per channel of the frames from `position` on, which must follow one another."""
    if position >= len(data):
        return 0
    first = _parse_frame(data[position : position + 16], rate)
    if first is None:
        raise damaged(f"there is no frame at byte {position}, behind its header")
    num_frames, num_samples, num_false = 0, 0, 0
    for match in _FRAME_START.finditer(data, position):
        frame = _parse_frame(data[match.start() : match.start() + 16], rate)
        expected = num_samples if first.counts_samples else num_frames
        if frame is None or frame.number != expected:
            # What looks like a header may be chance; not if it has all that is the same in every frame but the last.
            if frame is not None and dataclasses.replace(frame, number=first.number) == first:
                raise damaged(f"frame {frame.number} stands where frame {expected} belongs")
            num_false += 1
            if num_false > _MIN_FALSE_STARTS + len(data) // _BYTES_PER_FALSE_START:
                raise damaged("it is full of what looks like headers of frames")
            continue
        if (frame.rate_hz, frame.channels) != (rate, channels):
            raise damaged(
                f"its header states {channels} channels at {rate} Hz, and a frame {frame.channels} at {frame.rate_hz} Hz"
            )
        num_frames += 1
        num_samples += frame.num_samples
    return num_samples


def _parse_frame(data: bytes, stream_rate: int) -> _Frame | None:
    """The frame whose header `data` starts with, or `None` if there is no whole and undamaged header."""
    if len(data) < 16:
        data = data.ljust(16, b"\0")
    size_code, rate_code, channel_code = data[2] >> 4, data[2] & 15, data[3] >> 4
    if size_code == 0 or rate_code == 15 or channel_code > 10 or data[3] & 1:
        return None
    num_ones = 8 - (data[4] ^ 0xFF).bit_length()  # the number is written as UTF-8 writes a character
    if num_ones in (1, 8):
        return None
    position = 4 + max(1, num_ones)
    number = data[4] & (0xFF >> (num_ones + 1))
    for byte in data[5:position]:
        if byte & 0xC0 != 0x80:
            return None
        number = number << 6 | byte & 0x3F
    size_bytes = {6: 1, 7: 2}.get(size_code, 0)
    rate_bytes = {12: 1, 13: 2, 14: 2}.get(rate_code, 0)
    written_size = int.from_bytes(data[position : position + size_bytes], "big") + 1
    position += size_bytes
    written_rate = int.from_bytes(data[position : position + rate_bytes], "big")
    position += rate_bytes
    if _crc8(data[:position]) != data[position]:
        return None
    if size_code in (6, 7):
        num_samples = written_size
    elif size_code == 1:
        num_samples = 192
    else:
        num_samples = 576 << (size_code - 2) if size_code < 6 else 256 << (size_code - 8)
    rate = written_rate * {12: 1000, 14: 10}.get(rate_code, 1) if rate_bytes else _RATES_HZ[rate_code] or stream_rate
    channels = channel_code + 1 if channel_code < 8 else 2
    return _Frame(number, data[1] == 0xF9, size_code, num_samples, rate, channels)


def _crc8(data: bytes) -> int:
    remainder = 0
    for byte in data:
        remainder ^= byte
        for _ in range(8):
            remainder = remainder << 1 ^ (0x107 if remainder & 0x80 else 0)
    return remainder
