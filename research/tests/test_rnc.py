"""Data packed here, by the plainest packer that the format allows."""

import struct

import pytest

from aura_research.rnc import MAGIC, crc16, unpack


class Packer:
    """Bits into words of 16, each where its first bit was due; raw bytes between them."""

    def __init__(self):
        self.out, self.free, self.word_at = bytearray(), 0, 0

    def put(self, value, count):
        for index in range(count):
            if self.free == 0:
                self.word_at, self.free = len(self.out), 16
                self.out += b"\0\0"
            bit = 16 - self.free
            self.out[self.word_at + bit // 8] |= (value >> index & 1) << bit % 8
            self.free -= 1

    def table(self, *symbols):
        """A code of equally long words for two symbols, or of one bit for one."""
        self.put(max(symbols, default=-1) + 1, 5)
        for symbol in range(max(symbols, default=-1) + 1):
            self.put(1 if symbol in symbols else 0, 4)


def packed(chunks, plain):
    """`chunks`: lists of (raw bytes, distance, length); the last pair's distance is None."""
    packer = Packer()
    packer.put(0, 2)
    for pairs in chunks:
        runs = sorted({len(raw).bit_length() for raw, _, _ in pairs})
        distances = sorted({(distance - 1).bit_length() for _, distance, _ in pairs if distance})
        lengths = sorted({(length - 2).bit_length() for _, distance, length in pairs if distance})
        for symbols in (runs, distances, lengths):
            packer.table(*symbols)
        packer.put(len(pairs), 16)
        for raw, distance, length in pairs:
            values = [(len(raw), runs)]
            if distance:
                values += [(distance - 1, distances), (length - 2, lengths)]
            for index, (value, symbols) in enumerate(values):
                symbol = value.bit_length()
                packer.put(symbols.index(symbol), 1)
                if symbol > 1:
                    packer.put(value - (1 << (symbol - 1)), symbol - 1)
                if index == 0:
                    packer.out += raw
    header = MAGIC + struct.pack(
        ">IIHHBB", len(plain), len(packer.out), crc16(plain), crc16(packer.out), 0, len(chunks)
    )
    return header + bytes(packer.out)


@pytest.mark.parametrize(
    ("chunks", "plain"),
    [
        ([[(b"hello", None, 0)]], b"hello"),
        ([[(b"ab", 2, 6), (b"!", None, 0)]], b"abababab!"),  # a copy of itself
        ([[(b"spoken", 6, 6), (b"x", 3, 2), (b"y", None, 0)], [(b"more", None, 0)]], b"spokenspokenxenymore"),
    ],
)
def test_what_was_packed_comes_back(chunks, plain):
    assert unpack(packed(chunks, plain)) == plain


def test_crc_is_the_published_one():
    assert crc16(b"123456789") == 0xBB3D  # CRC-16/ARC


def test_damage_and_other_formats_are_named():
    good = packed([[(b"hello", None, 0)]], b"hello")
    with pytest.raises(ValueError, match="size or checksum differ"):
        unpack(good.replace(b"hello", b"hallo"))
    with pytest.raises(ValueError, match="damaged"):
        unpack(good[:20])
    with pytest.raises(ValueError, match="RNC data of method 1 begin with"):
        unpack(b"RIFF" + good[4:])
