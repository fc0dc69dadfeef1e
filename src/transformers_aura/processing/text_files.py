"""Text that people wrote in whatever editor, read as UTF-8 or refused by name."""

from __future__ import annotations

import codecs
from pathlib import Path


_OTHER_ENCODINGS = {  # in this order: the mark of UTF-32 begins with that of UTF-16
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
_OTHER_FILES = {
    b"\x1f\x8b": "compressed by gzip: unpack it",
    b"PK\x03\x04": "an Excel workbook or another zip archive: save it as CSV, or unpack it",
    b"PAR1": "a Parquet file",
}


class TextFileError(ValueError):
    """A file that is no UTF-8 text, or not the text that it should be. The message names file and line."""


def read_text_file(file: Path) -> str:
    """
    The text of a file, without the byte order mark that Notepad and Excel put before it, and with `\\n` at the end of every line.

    Raises:
        TextFileError: it cannot be read, or is text of another encoding, or no text.
    """
    try:
        data = file.read_bytes()
    except OSError as error:
        raise TextFileError(f"{file} cannot be read: {error.strerror or error}.") from error
    for start, what in _OTHER_FILES.items():
        if data.startswith(start):
            raise TextFileError(f"{file} is {what}.")
    encoding = next((name for mark, name in _OTHER_ENCODINGS.items() if data.startswith(mark)), None)
    if encoding is None and b"\0" in data[:2]:
        encoding = "UTF-16"  # without its mark: one of the first two bytes of ASCII text is 0
    if encoding is not None:
        raise TextFileError(f"{file}, line 1 is {encoding} text. Save the file as UTF-8.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        before = data[data.rfind(b"\n", 0, error.start) + 1 : error.start].decode("utf-8", "replace")
        raise TextFileError(
            f"{file}, line {line} is not UTF-8: byte 0x{data[error.start]:02x} after '{before[-20:]}' "
            "(text of Windows or Latin-1?). Save the file as UTF-8."
        ) from error
    return text.replace("\r\n", "\n").replace("\r", "\n")
