"""Where the rows of a batch go: to standard output, or to a JSONL or Parquet file that a run which was stopped goes on with."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from ...extras import import_extra
from ...folder_lock import lock_folder
from ...whole_files import disk_errors_named, files_together, write_whole
from ..console import print_result
from .sources import PARQUET_SUFFIX


Row = dict[str, Any]
"""Of one input: its `name`, the `audio` it names, and what came out, or an `error`."""

SETTINGS_FILE = "settings.json"
ROWS_FILE = "rows.jsonl"

_ROWS_AT_ONCE = 10_000


class OutputError(ValueError):
    """An output that this run cannot go on with. The message names the file, and says what to do."""


class Output(Protocol):
    """Takes rows.

    Attributes:
        done: names of inputs that have their rows already.
    """

    done: set[str]

    def add(self, position: int, row: Row) -> None:
        """Keep a row.

        Args:
            position: of its input among those that were not done, 0 for the first. Rows come in any order.
            row: of an input.
        """


class PrintedRows:
    """
    Rows on standard output, in the order of the inputs; those with an error are left out.

    Args:
        render: makes of a row what is printed.
    """

    def __init__(self, render: Callable[[Row], str]) -> None:
        self.done: set[str] = set()
        self._render = render
        self._waiting: dict[int, Row] = {}
        self._next = 0

    def add(self, position: int, row: Row) -> None:
        """See [`Output`]."""
        self._waiting[position] = row
        while self._next in self._waiting:
            row = self._waiting.pop(self._next)
            self._next += 1
            if "error" not in row:
                print_result(self._render(row))


class FilePerRow:
    """
    A file a row, named after its input.

    Args:
        folder: made if needed.
        suffix: of the files.
        render: makes of a row what is written.
    """

    def __init__(self, folder: Path, suffix: str, render: Callable[[Row], str]) -> None:
        self.done: set[str] = set()
        self._folder, self._suffix, self._render = folder, suffix, render

    def add(self, position: int, row: Row) -> None:
        """See [`Output`]."""
        if "error" not in row:
            write_whole(self._folder / f"{Path(row['name']).stem}.{self._suffix}", self._render(row) + "\n")


class JsonLines:
    """
    A JSONL file, a row a line, each on disk as soon as it is there.

    What an earlier run left is kept, but for the half line of one that was killed and rows with an error, which are tried again.

    Raises:
        OutputError: a line is no row.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        rows = list(_whole_rows(path)) if path.is_file() else []
        kept = [row for row in rows if "error" not in row]
        if path.is_file() and (len(kept) < len(rows) or not path.read_bytes().endswith(b"\n")):
            write_whole(path, b"".join(map(_line_of, kept)))
        self.done = {row["name"] for row in kept}

    def add(self, position: int, row: Row) -> None:
        """See [`Output`]."""
        with disk_errors_named(self.path), self.path.open("ab") as file:
            file.write(_line_of(row))
        self.done.add(row["name"])


@contextmanager
def resumable_rows(path: Path, settings: Mapping[str, Any], columns: Mapping[str, Any]) -> Iterator[JsonLines]:
    """
    Rows of a run in `path`, which goes on where an earlier one was stopped. Beside it, the folder `<path>.run` holds the run's settings.

    A Parquet file is there once the body has ended; until then its rows are in the folder, as JSONL.

    Args:
        path: a `.jsonl` or `.parquet` file.
        settings: what the answers depend on, as JSON has it.
        columns: name and type of each column of a Parquet file: `str`, `bool`, `float`, `[type]` for a list, `{name: type}` for a struct.

    Raises:
        OutputError: what is in `path` was made with other settings, or is of somebody else.
        FolderInUseError: another run writes there.
        MissingExtraError: a Parquet file, and no pyarrow.
    """
    run = path.with_name(f"{path.name}.run")
    is_parquet = path.suffix.lower() == PARQUET_SUFFIX
    if is_parquet:
        import_extra("pyarrow.parquet", "parquet", f"Writing {path.name}")
    with lock_folder(run, "a batch"):
        rows_file = run / ROWS_FILE if is_parquet else path
        if not (path.exists() or rows_file.exists()):  # the first run, or somebody removed what the last one wrote
            (run / SETTINGS_FILE).unlink(missing_ok=True)
        _check_settings(path, run / SETTINGS_FILE, json.loads(json.dumps(settings)))
        if is_parquet and path.is_file() and not rows_file.is_file():
            write_whole(rows_file, b"".join(map(_line_of, _parquet_rows(path))))
        yield JsonLines(rows_file)
        if is_parquet:
            _write_parquet(path, rows_file, columns)
            rows_file.unlink(missing_ok=True)


def _check_settings(path: Path, file: Path, settings: dict[str, Any]) -> None:
    """Compares a run's settings with those that the output was begun with, and keeps them for the next run."""
    if not file.is_file():
        if path.exists() and path.stat().st_size:
            raise OutputError(
                f"{path} is there already, and {file} that would tell how it was made is not. Choose another --out."
            )
        write_whole(file, json.dumps(settings, indent=2) + "\n")
        return
    try:
        earlier = json.loads(file.read_text("utf-8"))
        differing = [name for name in {**earlier, **settings} if settings.get(name) != earlier.get(name)]
    except (ValueError, TypeError) as error:
        raise OutputError(
            f"{file} cannot be read ({error}). Remove {path} and {file.parent} to begin again."
        ) from error
    if differing:
        changes = "; ".join(
            f"{name} was {json.dumps(earlier.get(name))}, now {json.dumps(settings.get(name))}" for name in differing
        )
        raise OutputError(
            f"{path} was begun with other settings: {changes}. Go on with the same, or choose another --out."
        )


def _line_of(row: Mapping[str, Any]) -> bytes:
    # A name that is no UTF-8 is escaped: what remains is JSON that reads as the same name.
    return (json.dumps(row, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace")


def _whole_rows(path: Path) -> Iterator[Row]:
    """The rows of a JSONL file, without half a line at its end."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                return
            try:
                row = json.loads(line)
                if not isinstance(row["name"], str):
                    raise TypeError("'name' is text")
            except (ValueError, KeyError, TypeError) as error:
                raise OutputError(
                    f"{path}, line {number} is no row of a batch ({error}). Choose another --out."
                ) from error
            yield row


def _parquet_rows(path: Path) -> Iterator[Row]:
    parquet = import_extra("pyarrow.parquet", "parquet", f"Reading {path.name}")
    try:
        for batch in parquet.ParquetFile(path).iter_batches(_ROWS_AT_ONCE):
            for row in batch.to_pylist():
                yield {name: value for name, value in row.items() if value is not None}
    except (ValueError, OSError) as error:  # pyarrow's errors are kinds of these
        raise OutputError(f"{path} cannot be read: {error}") from error


def _write_parquet(path: Path, rows_file: Path, columns: Mapping[str, Any]) -> None:
    parquet = import_extra("pyarrow.parquet", "parquet", f"Writing {path.name}")
    pyarrow = import_extra("pyarrow", "parquet", f"Writing {path.name}")
    schema = pyarrow.schema([(name, _arrow_type(pyarrow, kind)) for name, kind in columns.items()])
    rows = _whole_rows(rows_file) if rows_file.is_file() else iter(())
    with files_together(path.parent) as staging, parquet.ParquetWriter(staging / path.name, schema) as writer:
        while some := [_as_utf8(row) for _, row in zip(range(_ROWS_AT_ONCE), rows, strict=False)]:
            writer.write_table(pyarrow.Table.from_pylist(some, schema))


def _as_utf8(row: Row) -> Row:
    """A row with names that are no UTF-8 escaped: Parquet takes no other text."""
    return {
        name: value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value
        for name, value in row.items()
    }


def _arrow_type(pyarrow: Any, kind: Any) -> Any:
    if isinstance(kind, Mapping):
        return pyarrow.struct([(name, _arrow_type(pyarrow, of_field)) for name, of_field in kind.items()])
    if isinstance(kind, Sequence):
        return pyarrow.list_(_arrow_type(pyarrow, kind[0]))
    return {str: pyarrow.string(), bool: pyarrow.bool_(), float: pyarrow.float64()}[kind]
