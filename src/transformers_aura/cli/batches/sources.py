"""Where inputs come from: lists in memory, manifests, and Parquet files that are read as their turn comes."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ...extras import import_extra
from ...processing.audio_source import is_path
from ...processing.manifests import as_text, audio_beside, listed, read_manifest


PARQUET_SUFFIX = ".parquet"
COLUMNS = ("name", "audio", "question", "context")
"""Of manifests and Parquet files; others are for other commands."""

_ROWS_AT_ONCE = 16
_REMOTE = re.compile(r"(https?|file)://", re.IGNORECASE)


class InputError(ValueError):
    """Inputs that are not there, or cannot be read. The message names them."""


@dataclass(frozen=True)
class BatchInput:
    """
    One recording to answer.

    Attributes:
        name: unique among the inputs: the path as given; of a row its `name`, or the file and the row's number.
        audio: what `load_audio` takes.
        question, context: of a row that has its own.
        problem: why it cannot be asked; `None` where it can.
    """

    name: str
    audio: Any = field(repr=False)
    question: str | None = None
    context: str | None = None
    problem: str | None = None

    @property
    def place(self) -> str | None:
        """Path or URL of the recording; `None` where the input holds it itself."""
        place = self.audio.get("path") if isinstance(self.audio, Mapping) else self.audio
        return place if isinstance(place, str) and (is_path(place) or _REMOTE.match(place)) else None


class Source(Protocol):
    """Some of the inputs."""

    @property
    def names(self) -> Sequence[str]:
        """Of all of them, in their order."""

    def read(self, indices: Sequence[int]) -> Iterator[BatchInput]:
        """The inputs at these places, which are in ascending order."""


class ListedInputs:
    """Inputs in memory."""

    def __init__(self, inputs: Sequence[BatchInput]) -> None:
        self.names = [each.name for each in inputs]
        self._inputs = inputs

    def read(self, indices: Sequence[int]) -> Iterator[BatchInput]:
        """See [`Source`]."""
        return (self._inputs[index] for index in indices)


class ParquetInputs:
    """
    Rows of a Parquet file, of which the recordings are read when their turn comes.

    `audio` holds what `datasets` writes (`{"bytes", "path"}`), a file's bytes, a path beside the Parquet file, or a URL.

    Raises:
        InputError: it cannot be read, or has no column `audio`.
        MissingExtraError: pyarrow is not installed.
    """

    def __init__(self, path: Path) -> None:
        parquet = import_extra("pyarrow.parquet", "parquet", f"Reading {path.name}")
        self._path = path
        try:
            self._file = parquet.ParquetFile(path)
            found = self._file.schema_arrow.names
            if "audio" not in found:
                raise InputError(f"{path} has no column 'audio'; it has {listed(found)}.")
            self._columns = [column for column in COLUMNS if column in found]
            own = self._file.read(columns=["name"]).column("name").to_pylist() if "name" in found else None
        except InputError:
            raise
        except (ValueError, OSError) as error:  # pyarrow's errors are kinds of these
            raise InputError(f"{path} cannot be read: {error}") from error
        numbers = range(self._file.metadata.num_rows)
        self.names = [_row_name(own[number] if own else None, f"{path}:{number + 1}") for number in numbers]

    def read(self, indices: Sequence[int]) -> Iterator[BatchInput]:
        """See [`Source`]. Row groups of which none is wanted are passed over."""
        wanted = set(indices)
        first = 0
        for group in range(self._file.num_row_groups):
            end = first + self._file.metadata.row_group(group).num_rows
            if not wanted.isdisjoint(range(first, end)):
                yield from self._read_group(group, first, wanted)
            first = end

    def _read_group(self, group: int, first: int, wanted: set[int]) -> Iterator[BatchInput]:
        number = first
        for batch in self._file.iter_batches(_ROWS_AT_ONCE, row_groups=[group], columns=self._columns):
            for index in range(batch.num_rows):
                if number in wanted:
                    row = batch.slice(index, 1).to_pylist()[0]
                    yield _input_of(self._path, self.names[number], row)
                number += 1


def rows_of(path: Path) -> Source:
    """
    The rows of a manifest or a Parquet file.

    Raises:
        InputError: there is no such file, it holds no rows, or has no column `audio`.
        TextFileError: a manifest that cannot be read, by file and line.
        MissingExtraError: a Parquet file, and no pyarrow.
    """
    if not path.is_file():
        raise InputError(f"There is no file '{path}' (looked from '{os.getcwd()}').")
    if path.suffix.lower() == PARQUET_SUFFIX:
        return ParquetInputs(path)
    rows = list(read_manifest(path))
    if not rows:
        raise InputError(f"{path} holds no rows.")
    if not any("audio" in row for _, row in rows):
        raise InputError(f"{path} has no column 'audio'; it has {listed(rows[0][1])}.")
    return ListedInputs([_input_of(path, _row_name(row.get("name"), f"{path}:{line}"), row) for line, row in rows])


def _row_name(own: Any, otherwise: str) -> str:
    return otherwise if own is None or own == "" else str(own)


def _input_of(path: Path, name: str, row: Mapping[str, Any]) -> BatchInput:
    """The input of a row; what is wrong with the row is told when its turn comes, as of any other recording."""
    audio = row.get("audio")
    try:
        if isinstance(audio, Mapping) and audio.get("bytes") is not None:
            audio = {"bytes": audio["bytes"]}  # the path beside it is a name of long ago
        elif not isinstance(audio, bytes):
            audio = audio_beside(path, audio)
        if audio is None:
            raise ValueError("the row has no audio")
        texts = [as_text(row.get(column), column) for column in ("question", "context")]
    except ValueError as error:
        return BatchInput(name, None, problem=str(error))
    return BatchInput(name, audio, *texts)
