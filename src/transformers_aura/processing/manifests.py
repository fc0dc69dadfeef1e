"""Manifests: files with a row a recording. JSON lines, a JSON array, or a table with a header (CSV, TSV)."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import reprlib
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from .audio_source import is_path
from .text_files import TextFileError, read_text_file


SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv")
"""How the names of manifests end."""

COMMON_VOICE_COLUMNS = frozenset(("client_id", "path", "sentence"))
"""A table with these is one of Common Voice's own, of which `clips/` holds the recordings."""

CLIPS_FOLDER = "clips"

MOST_LISTED, LONGEST_NAME = 20, 60

_QUOTED = re.compile(r'"(?:[^"]|"")*"')
_HALF_CHARACTER = re.compile("[\ud800-\udfff]")
_GAP = re.compile(r"[\s,]*")
_LONGEST_CELL = 2**31 - 1


class ManifestError(TextFileError):
    """A manifest that cannot be read. The message names file and line."""


def find_manifest(folder: Path, split: str) -> Path | None:
    """A folder's `manifest.jsonl` (or `.json`, `.csv`, `.tsv`), else the one called after the split (`train.tsv`); `None` if there is none."""
    files = (folder / f"{stem}{suffix}" for stem in ("manifest", split) for suffix in SUFFIXES)
    return next((file for file in files if file.is_file()), None)


def read_manifest(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """
    The rows of a manifest, each with the line that it begins at.

    A table's empty cells are `None`. Rows of Common Voice get the columns `audio` and `transcript` beside their own.

    Args:
        file (`Path`): what it holds is told by its suffix, or by how it begins where that is another.

    Yields:
        `tuple[int, dict[str, Any]]`: line, and value by column.

    Raises:
        ManifestError: it is no text in UTF-8, or a row is no object, or does not fit the header.
        TextFileError: it is no UTF-8 text.
    """
    text = read_text_file(file)
    kind = file.suffix.lower()
    if kind not in SUFFIXES:
        start = text.lstrip()[:1]
        kind = {"{": ".jsonl", "[": ".json"}.get(start, ".tsv" if "\t" in text.partition("\n")[0] else ".csv")
    if kind == ".json" and text.lstrip().startswith("["):
        rows = _array_rows(file, text)
    elif kind in (".csv", ".tsv"):
        rows = _table_rows(file, text, kind)
    else:
        rows = _line_rows(file, text)
    for line, row in rows:
        if not isinstance(row, dict):
            raise _error(file, line, f'holds {describe(row)}, not an object: {{"audio": ..., ...}}')
        if row.keys() >= COMMON_VOICE_COLUMNS:
            row = {"audio": row["path"], "transcript": row["sentence"], **row}
        yield line, row


def audio_beside(manifest: Path, value: Any) -> Any:
    """
    What `load_audio` takes for a row's recording: a path is relative to the manifest, or to the folder `clips` beside it, as in Common Voice.

    URLs, `data:` URLs, base64 text and samples stay as they are; `None` for an empty one.

    Raises:
        ValueError: this can be no recording.
    """
    if isinstance(value, Mapping):
        return {**value, "path": audio_beside(manifest, value["path"])} if value.get("path") else value
    if value is None or value == "":
        return None
    if not isinstance(value, (str, list)):
        raise ValueError(f"a recording is a path, a URL or samples, not {describe(value)}")
    if isinstance(value, list) or value.startswith("~"):
        return value
    beside = os.path.join(manifest.parent, value)
    if not is_path(value) and not os.path.exists(beside):
        return value
    in_clips = os.path.join(manifest.parent, CLIPS_FOLDER, value)
    return in_clips if not os.path.exists(beside) and os.path.exists(in_clips) else beside


def as_text(value: Any, column: str) -> str | None:
    """
    A value as text: numbers are written out.

    Raises:
        ValueError: it is neither text nor a number.
    """
    if isinstance(value, str) and _HALF_CHARACTER.search(value):
        raise ValueError(f"'{column}' holds half of a character (a lone surrogate)")
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"'{column}' must be text or a number, not {describe(value)}")
    return str(value)


def describe(value: Any) -> str:
    """A value and its type for an error, never at full length."""
    return "nothing" if value is None else f"{reprlib.repr(value)} ({type(value).__name__})"


def listed(names: Iterable[str]) -> str:
    """Names of columns for an error; where a table lacks its header, a name may be a whole recording."""
    shown = [str(name) for name in islice(names, MOST_LISTED)]
    return ", ".join(name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]}..." for name in shown)


def parse_json_line(file: Path, number: int, line: str) -> Any:
    """
    One line of JSON.

    Raises:
        ManifestError: it is none.
    """
    try:
        row = _JSON.decode(line)
    except (ValueError, RecursionError) as error:
        raise _not_json(file, number, error) from error
    if isinstance(row, list):
        raise _error(file, number, f"holds a list, not an object; one JSON array belongs into {file.stem}.json")
    return row


def _line_rows(file: Path, text: str) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield number, parse_json_line(file, number, line)


def _array_rows(file: Path, text: str) -> Iterator[tuple[int, Any]]:
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        raise _not_json(file, error.lineno, error) from error
    except (ValueError, RecursionError) as error:
        raise _not_json(file, 1, error) from error
    line, end = 1, text.index("[") + 1
    while text[position := _GAP.match(text, end).end()] != "]":  # type: ignore[union-attr]
        line += text.count("\n", end, position)
        try:
            row, end = _JSON.raw_decode(text, position)
        except ValueError as error:
            raise _not_json(file, line, error) from error
        yield line, row
        line += text.count("\n", position, end)


def _table_rows(file: Path, text: str, kind: str) -> Iterator[tuple[int, dict[str, Any]]]:
    rows = _tsv_cells(text) if kind == ".tsv" else _csv_cells(file, text)
    header: list[str] = []
    for line, cells in rows:
        if not any(cells):
            continue
        if not header:
            header = [cell.strip() for cell in cells]
            if twice := next((name for name in header if header.count(name) > 1), None):
                raise _error(file, line, f"names the column '{listed([twice])}' twice")
            continue
        if len(cells) != len(header):
            raise _error(file, line, f"has {len(cells)} cells, but the header {len(header)}")
        yield line, {name: cell or None for name, cell in zip(header, cells, strict=True)}


def _tsv_cells(text: str) -> Iterator[tuple[int, list[str]]]:
    """A line a row. A cell in quotes is read as Excel and pandas write it; other quotes are text, as in Common Voice."""
    for number, line in enumerate(text.split("\n"), start=1):
        cells = line.split("\t")
        yield (
            number,
            [cell[1:-1].replace('""', '"') if _QUOTED.fullmatch(cell) else cell for cell in cells],
        )


def _csv_cells(file: Path, text: str) -> list[tuple[int, list[str]]]:
    """Separated by commas, or by semicolons or tabs where the header has more of them (Excel, in many countries)."""
    header = text.lstrip("\n").partition("\n")[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=header.count), strict=True)
    rows: list[tuple[int, list[str]]] = []
    begin = 1
    limit = csv.field_size_limit(_LONGEST_CELL)  # a cell may hold a whole recording
    try:
        for cells in reader:
            rows.append((begin, cells))
            begin = reader.line_num + 1
    except csv.Error as error:
        raise _error(file, begin, f"is no row of a CSV table: {error}") from error
    finally:
        csv.field_size_limit(limit)
    return rows


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no value; write null where there is none")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"'{listed([twice])}' stands twice in one object")
    return row


_JSON = json.JSONDecoder(parse_constant=_no_constant, object_pairs_hook=_once)


def _not_json(file: Path, line: int, error: Exception) -> ManifestError:
    what = f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else str(error)
    return _error(file, line, f"is not JSON: {what}")


def _error(file: Path, line: int, what: str) -> ManifestError:
    return ManifestError(f"{file}, line {line} {what}.")
