"""What a stream is read from: tars, Parquet files, ranges of JSON lines, shards of a dataset on the Hub."""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count, groupby, islice
from pathlib import Path
from typing import Any, Protocol

from ...extras import import_extra
from ...processing.manifests import audio_beside, parse_json_line


AUDIO_MEMBERS = ("flac", "wav", "mp3", "ogg", "opus", "m4a", "aac", "webm")
"""Suffixes of a tar's members that are recordings."""

TEXT_MEMBERS = ("txt", "text", "transcript")

BYTES_PER_RANGE = 1 << 20
"""A file of JSON lines is divided into ranges of about so many bytes."""

ROWS_AT_ONCE = 64
"""Of a Parquet file."""


class ShardError(ValueError):
    """A shard is damaged, or not of its format. The message names the file and the place in it."""


class Shard(Protocol):
    """A part of a source that is read from its begin to its end.

    Attributes:
        name: what it is called in errors; the same in every process.
    """

    @property
    def name(self) -> str: ...

    def rows(self, start: int, step: int) -> Iterator[tuple[str, dict[str, Any]]]:
        """Every `step`-th row from the row `start` on (0 is the first), each with its place in words; what is passed over is not decoded.

        Raises:
            ShardError, OSError: it cannot be read.
        """
        ...


@dataclass(frozen=True)
class TarShard:
    """A tar as WebDataset writes it: files of one name (`a/0001.flac`, `a/0001.txt`, `a/0001.json`), one behind the other, are a row.

    A row holds each file under its suffix (text of `txt`, an object of `json`), the keys of its JSON objects, `audio` for the recording,
    and `transcript` for a `txt` where no JSON has one.
    """

    path: str

    @property
    def name(self) -> str:
        """See [`Shard`]."""
        return self.path

    def rows(self, start: int, step: int) -> Iterator[tuple[str, dict[str, Any]]]:
        """See [`Shard`]."""
        name = "its begin"
        try:
            with tarfile.open(self.path) as tar:
                for number, (key, members) in enumerate(groupby(_files(tar), _key)):
                    name = key
                    if number >= start and (number - start) % step == 0:
                        yield f"{self.path}, {key}", self._row(tar, key, list(members))
                    else:
                        for _ in members:
                            pass
                if tar.fileobj is not None and not _ends_as_a_tar(self.path):
                    raise tarfile.ReadError("the blocks that end a tar are missing")
        except (tarfile.TarError, EOFError) as error:
            raise ShardError(
                f"{self.path} is cut or damaged behind {name} ({error}). Copy it again, or leave it out."
            ) from error

    def _row(self, tar: tarfile.TarFile, key: str, members: Sequence[tarfile.TarInfo]) -> dict[str, Any]:
        row: dict[str, Any] = {}
        from_json: dict[str, Any] = {}
        for member in members:
            suffix = member.name[len(key) + 1 :].lower()
            if suffix in row:
                raise ShardError(f"{self.path}, {key} has two files '.{suffix}'.")
            file = tar.extractfile(member)
            content = b"" if file is None else file.read()
            kind = suffix.rpartition(".")[2]
            if kind in AUDIO_MEMBERS:
                row[suffix] = {"bytes": content, "path": member.name}
                row.setdefault("audio", row[suffix])
            elif kind == "json":
                row[suffix] = self._json(content, member.name)
                from_json |= row[suffix]
            else:
                row[suffix] = self._text(content, member.name) if kind in TEXT_MEMBERS else content
        if "audio" not in row and "audio" not in from_json:
            found = ", ".join(f".{suffix}" for suffix in row)
            raise ShardError(f"{self.path}, {key} has no recording (.{', .'.join(AUDIO_MEMBERS)}), only {found}.")
        row = {**row, **from_json}
        texts = [suffix for suffix in TEXT_MEMBERS if suffix in row]
        if texts:
            row.setdefault("transcript", row[texts[0]])
        return row

    def _text(self, content: bytes, name: str) -> str:
        try:
            return content.decode("utf-8-sig").strip()
        except UnicodeDecodeError as error:
            raise ShardError(f"{self.path}, {name} is not UTF-8.") from error

    def _json(self, content: bytes, name: str) -> dict[str, Any]:
        try:
            value = json.loads(content)
        except ValueError as error:
            raise ShardError(f"{self.path}, {name} is not JSON: {error}") from error
        if not isinstance(value, dict):
            raise ShardError(f'{self.path}, {name} holds no object: {{"transcript": ...}}.')
        return value


def _files(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """The files of a tar, of which none is remembered."""
    while (member := tar.next()) is not None:
        tar.members.clear()  # type: ignore[attr-defined]
        if member.isfile():
            yield member


def _key(member: tarfile.TarInfo) -> str:
    """A member's name up to the first dot of its last part, as WebDataset cuts it."""
    folder, _, name = member.name.rpartition("/")
    stem = name.partition(".")[0]
    return f"{folder}/{stem}" if folder else stem


def _ends_as_a_tar(path: str) -> bool:
    """Whether the file ends with a block of zeros; a compressed one has an end of its own."""
    with open(path, "rb") as file:
        if file.read(2) in (b"\x1f\x8b", b"BZ", b"\xfd7", b"(\xb5"):
            return True
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - tarfile.BLOCKSIZE, 0))
        return file.read() == b"\0" * tarfile.BLOCKSIZE


@dataclass(frozen=True)
class ParquetShard:
    """A Parquet file; row groups before the first row are not read.

    Args:
        path: the file.
        columns: those that are read, where they are there.
    """

    path: str
    columns: tuple[str, ...]

    @property
    def name(self) -> str:
        """See [`Shard`]."""
        return self.path

    def rows(self, start: int, step: int) -> Iterator[tuple[str, dict[str, Any]]]:
        """See [`Shard`]."""
        parquet = import_extra("pyarrow.parquet", "train", f"Reading {self.path}")
        try:
            with parquet.ParquetFile(self.path) as file:
                columns = [name for name in file.schema_arrow.names if name in self.columns]
                first = 0
                for group in range(file.num_row_groups):
                    length = file.metadata.row_group(group).num_rows
                    if first + length <= start:
                        first += length
                        continue
                    for batch in file.iter_batches(ROWS_AT_ONCE, row_groups=[group], columns=columns):
                        begin = max(start - first, -(first - start) % step)
                        for number in range(begin, batch.num_rows, step):
                            yield f"{self.path}, row {first + number}", batch.slice(number, 1).to_pylist()[0]
                        first += batch.num_rows
        except (ValueError, OSError) as error:  # pyarrow's errors are kinds of these
            raise ShardError(f"{self.path} cannot be read as Parquet: {error}") from error

    def column_names(self) -> list[str]:
        """All columns of the file.

        Raises:
            ShardError: it is no Parquet file.
        """
        parquet = import_extra("pyarrow.parquet", "train", f"Reading {self.path}")
        try:
            return list(parquet.read_schema(self.path).names)
        except (ValueError, OSError) as error:
            raise ShardError(f"{self.path} cannot be read as Parquet: {error}") from error


@dataclass(frozen=True)
class JsonLinesShard:
    """A range of a manifest of JSON lines. Paths of recordings are relative to the manifest.

    Args:
        path: the manifest.
        begin, end: in bytes; both where a line begins.
        first_line: number of the first line, from 1 on.
        audio_column: that of the recordings.
    """

    path: str
    begin: int
    end: int
    first_line: int
    audio_column: str = "audio"

    @property
    def name(self) -> str:
        """See [`Shard`]."""
        return f"{self.path}, from line {self.first_line}"

    def rows(self, start: int, step: int) -> Iterator[tuple[str, dict[str, Any]]]:
        """See [`Shard`]."""
        number = 0
        with open(self.path, "rb") as file:
            file.seek(self.begin)
            for line_number in count(self.first_line):
                line = file.readline() if file.tell() < self.end else b""
                if not line:
                    return
                if not line.strip():
                    continue
                if number >= start and (number - start) % step == 0:
                    yield f"{self.path}, line {line_number}", self._row(line, line_number)
                number += 1

    def _row(self, line: bytes, line_number: int) -> dict[str, Any]:
        manifest = Path(self.path)
        try:
            row = parse_json_line(manifest, line_number, line.decode("utf-8-sig"))
        except UnicodeDecodeError as error:
            raise ShardError(f"{self.path}, line {line_number} is not UTF-8.") from error
        try:
            row[self.audio_column] = audio_beside(manifest, row.get(self.audio_column))
        except (ValueError, AttributeError) as error:
            raise ShardError(f"{self.path}, line {line_number}: {error}.") from error
        return row


def json_lines_shards(path: str, audio_column: str) -> list[JsonLinesShard]:
    """A manifest of JSON lines, in ranges of whole lines."""
    shards: list[JsonLinesShard] = []
    begin, line = 0, 1
    with open(path, "rb") as file:
        while block := file.read(BYTES_PER_RANGE) + file.readline():
            shards.append(JsonLinesShard(path, begin, begin + len(block), line, audio_column))
            begin, line = begin + len(block), line + block.count(b"\n")
    return shards


@dataclass(frozen=True)
class DatasetShard:
    """A shard of a `datasets.IterableDataset`.

    Args:
        dataset: audio of it is not decoded.
        source: its name.
        index: of the shard.
    """

    dataset: Any = field(repr=False)
    source: str
    index: int

    @property
    def name(self) -> str:
        """See [`Shard`]."""
        return f"{self.source}, shard {self.index}"

    def rows(self, start: int, step: int) -> Iterator[tuple[str, dict[str, Any]]]:
        """See [`Shard`]."""
        shard = self.dataset.shard(num_shards=self.dataset.num_shards, index=self.index)
        if start:
            shard = shard.skip(start)
        # Not `iter(shard)`: in a process of a data loader it would give each a part of the rows, which are divided already.
        batches = islice(enumerate(shard.iter(batch_size=1), start=start), 0, None, step)
        for number, batch in batches:
            yield f"{self.name}, row {number}", {column: values[0] for column, values in batch.items()}
