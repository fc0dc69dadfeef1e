"""Unpacks RNC ProPack data of method 1, in which a game of the nineties keeps its speech.

The format, as it is publicly described: 18 bytes of header (`RNC\\1`; sizes unpacked and packed, big endian; CRC-16 of both; two bytes, the last one the
number of chunks), then a stream of bits (words of 16 bits, little endian, lowest bit first) into which raw bytes are mixed. A chunk has three
Huffman tables (lengths of raw runs, distances, lengths of copies) and a number of pairs of a raw run and a copy of what was written before.
"""

from __future__ import annotations

import struct


MAGIC = b"RNC\x01"
HEADER_SIZE = 18


class _Bits:
    """The stream: bits from words of 16, raw bytes from where the next word would be."""

    def __init__(self, data: bytes, position: int) -> None:
        self.data = data + bytes(4)
        self.position = position
        self.buffer = 0
        self.count = 0

    def need(self, count: int) -> None:
        while self.count < count:
            self.buffer |= (self.data[self.position] | self.data[self.position + 1] << 8) << self.count
            self.position += 2
            self.count += 16

    def take(self, count: int) -> int:
        self.need(count)
        value = self.buffer & ((1 << count) - 1)
        self.buffer >>= count
        self.count -= count
        return value

    def raw(self, count: int) -> bytes:
        # What is left of the last word stays for later; a word that was only looked at goes back.
        while self.count >= 16:
            self.count -= 16
            self.position -= 2
        self.buffer &= (1 << self.count) - 1
        found = self.data[self.position : self.position + count]
        self.position += count
        return found


class _Huffman:
    """A canonical code of up to 16 symbols, its bits lowest first; symbol `n` above 1 is followed by `n - 1` bits below a leading one."""

    def __init__(self, bits: _Bits) -> None:
        lengths = [bits.take(4) for _ in range(bits.take(5))]
        self.codes: dict[tuple[int, int], int] = {}
        self.lengths = sorted({length for length in lengths if length})
        code = 0
        for length in range(1, 17):
            for symbol, of_symbol in enumerate(lengths):
                if of_symbol == length:
                    self.codes[length, int(f"{code:0{length}b}"[::-1], 2)] = symbol
                    code += 1
            code <<= 1

    def read(self, bits: _Bits) -> int:
        for length in self.lengths:
            bits.need(length)
            symbol = self.codes.get((length, bits.buffer & ((1 << length) - 1)))
            if symbol is not None:
                bits.take(length)
                return symbol if symbol < 2 else 1 << (symbol - 1) | bits.take(symbol - 1)
        raise ValueError("The RNC data are damaged: no code of the table fits.")


def unpack(data: bytes) -> bytes:
    """The bytes that were packed.

    Raises:
        ValueError: the data do not begin with the magic of RNC method 1, or are damaged.
    """
    if data[:4] != MAGIC:
        raise ValueError(f"RNC data of method 1 begin with {MAGIC!r}, these with {data[:4]!r}.")
    size, _, checksum = struct.unpack_from(">IIH", data, 4)
    bits = _Bits(data, HEADER_SIZE)
    bits.take(2)
    written = bytearray()
    try:
        for _ in range(data[17]):
            runs, distances, lengths = _Huffman(bits), _Huffman(bits), _Huffman(bits)
            for left in range(bits.take(16) - 1, -1, -1):
                written += bits.raw(runs.read(bits))
                if left:
                    distance, length = distances.read(bits) + 1, lengths.read(bits) + 2
                    start = len(written) - distance
                    if distance >= length:
                        written += written[start : start + length]
                    else:
                        for index in range(length):
                            written.append(written[start + index])
    except IndexError as error:
        raise ValueError("The RNC data are damaged: they end too early.") from error
    if len(written) != size or crc16(written) != checksum:
        raise ValueError("The RNC data are damaged: size or checksum differ.")
    return bytes(written)


def _crc_table() -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0xA001 if value & 1 else 0)
        table.append(value)
    return table


_CRC_TABLE = _crc_table()


def crc16(data: bytes | bytearray) -> int:
    """CRC-16 with the polynomial 0xA001 (CRC-16/ARC)."""
    value = 0
    for byte in data:
        value = value >> 8 ^ _CRC_TABLE[(value ^ byte) & 255]
    return value
