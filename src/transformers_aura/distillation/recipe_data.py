"""Rows for training, from the data sources of a recipe: manifests, Parquet files, Hub datasets."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch.utils.data import Dataset

from ..extras import MissingExtraError, import_extra
from ..hub_access import explain
from ..processing.audio_source import describe_audio, is_path
from ..processing.manifests import SUFFIXES, as_text, audio_beside, describe, find_manifest, listed, read_manifest
from ..processing.text_files import TextFileError, read_text_file
from .examples import ROW_KEYS
from .objectives.answer_kl import ROW_SWITCH
from .recipe import DataSource, RecipeError


MAX_ROWS = 10**8
"""Of a source in an epoch, repeated ones counted: their order is kept in memory."""

LONGEST_PATH = 4096

TEXT_KEYS = ("transcript", "question", "answer")
LIKELY_COLUMNS = {
    "audio": (
        "path",
        "file",
        "filename",
        "file_name",
        "filepath",
        "audio_path",
        "audio_file",
        "audio_filepath",
        "wav",
        "clip",
    ),
    "transcript": ("sentence", "text", "transcription", "transcripts"),
}
"""Names that others use for what we call so: a source that has them, and not ours, must say which is which."""


class MixedRows(Dataset):
    """
    Several sources as one dataset, each seen `repeat` times an epoch.

    Args:
        sources (`Sequence[tuple[Sequence, float]]`): rows (anything with a length and indices) and how often they are seen per epoch.
    """

    def __init__(self, sources: Sequence[tuple[Any, float]]) -> None:
        self._rows = [rows for rows, _ in sources]
        self._order = [
            (number, index % len(rows) if repeat >= 1 else int(index / repeat))
            for number, (rows, repeat) in enumerate(sources)
            for index in range(round(len(rows) * repeat))
        ]

    def __len__(self) -> int:
        return len(self._order)

    @property
    def seconds(self) -> list[float] | None:
        """Length of each row's clip; `None` where a source does not know it."""
        known: list[Any] = [getattr(rows, "seconds", None) for rows in self._rows]
        if any(seconds is None for seconds in known):
            return None
        return [known[number][row] for number, row in self._order]

    @property
    def transcripts(self) -> list[str]:
        """Of the rows that have one, those of a source that is repeated once; none of a source that does not know them."""
        return [text for rows in self._rows for text in getattr(rows, "transcripts", ())]

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        number, row = self._order[index]
        return self._rows[number][row]


class ManifestRows(list[dict[str, Any]]):
    """Rows in memory.

    Attributes:
        seconds: length of each row's clip; `None` where a manifest does not say it of all.
    """

    seconds: list[float] | None = None

    @property
    def transcripts(self) -> list[str]:
        """Of the rows with audio that have one."""
        return [row["transcript"] for row in self if row["transcript"] and row["audio"] is not None]


class HubRows(Dataset):
    """Rows of a `datasets.Dataset` under our names; audio stays encoded until the collator loads it.

    Args:
        dataset: its rows are dicts.
        columns (`dict[str, str]`): which of its columns is which of ours.
        seconds (`list[float]`, *optional*): length of each clip.
        switches (`dict[str, bool]`, *optional*): further values of every row.
        name (`str`): of the source, for errors.
    """

    def __init__(
        self,
        dataset: Any,
        columns: dict[str, str],
        seconds: list[float] | None = None,
        switches: dict[str, bool] | None = None,
        name: str = "the dataset",
    ) -> None:
        self._dataset = dataset
        self._name = name
        self._columns = columns
        self._switches = switches or {}
        self.seconds = seconds

    @property
    def transcripts(self) -> list[str]:
        """Of the rows that have one; no audio is read."""
        column = self._columns.get("transcript")
        return [] if column is None else [str(text) for text in self._dataset.select_columns(column)[column] if text]

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> dict[str, Any]:
        row = self._dataset[index]
        values = {key: row[self._columns[key]] if key in self._columns else None for key in ROW_KEYS}
        try:
            texts = {key: as_text(values[key], self._columns.get(key, key)) for key in TEXT_KEYS}
        except ValueError as error:
            raise RecipeError(f"{self._name}, row {index}: {error}.") from error
        return {**values, **texts, **self._switches}


def load_rows(sources: Sequence[DataSource], where: str) -> Any:
    """
    All rows of a list of sources.

    Args:
        sources (`Sequence[DataSource]`): from the recipe.
        where (`str`): their place in the recipe, for errors (`"data.train"`).

    Returns:
        dicts of `audio`, `transcript`, `question`, `answer`, audio as whatever `load_audio` takes; with `answer_kl: False` where the
        source says so: [`ManifestRows`] where every source is a manifest, else [`MixedRows`].

    Raises:
        RecipeError: a source that is not there, holds no rows, or lacks a column.
    """
    loaded = []
    for index, source in enumerate(sources):
        place = f"{where}.{index}"
        if source.weight is not None:
            raise RecipeError(
                f"'{place}.weight' is for streams (data.stream: true); `repeat` says how often rows are seen in an epoch."
            )
        rows = load_source(source, place)
        if source.repeat <= 0:
            raise RecipeError(f"'{place}.repeat' must be above 0, but is {source.repeat:g}.")
        seen = round(len(rows) * source.repeat)
        if not 1 <= seen <= MAX_ROWS:
            raise RecipeError(
                f"'{place}.repeat' of {source.repeat:g} makes {seen} rows out of {len(rows)}; it must make 1 to {MAX_ROWS}."
            )
        loaded.append((rows, source.repeat))
    mixed = MixedRows(loaded)
    if not all(isinstance(rows, ManifestRows) for rows, _ in loaded):
        return mixed
    rows = ManifestRows(mixed)
    rows.seconds = mixed.seconds
    return rows


def load_context_texts(path: str | None) -> list[str] | None:
    """The lines of `data.context_texts`, or `None`."""
    if path is None:
        return None
    if not os.path.isfile(path):
        raise RecipeError(f"'data.context_texts': there is no file {path}.")
    try:
        texts = [line.strip() for line in read_text_file(Path(path)).split("\n") if line.strip()]
    except TextFileError as error:
        raise RecipeError(f"'data.context_texts': {error}") from error
    if not texts:
        raise RecipeError(f"'data.context_texts': {path} is empty.")
    return texts


def load_source(source: DataSource, where: str) -> Any:
    """The rows of one source, a sequence of dicts; see [`load_rows`]."""
    wanted = wanted_keys(source, where)
    files = find_files(source, where)
    if files.manifest is not None:
        if source.max_seconds is not None:
            raise RecipeError(
                f"'{where}.max_seconds' is for Parquet files, Hub datasets and streams; {files.manifest} is a manifest."
            )
        rows: Any = _read_manifest(files.manifest, source, wanted, where)
    elif files.parquet:
        shards = [glob.escape(str(shard)) for shard in files.parquet]  # `datasets` takes names for patterns
        rows = _load_dataset(source, wanted, where, "parquet", data_files=shards, split="train")
    elif files.tars:
        advice = "set data.stream: true" if where.startswith("data.train") else "give a manifest or Parquet files"
        raise RecipeError(
            f"'{where}.source': {files.tars[0]} is a tar, which is read from begin to end, not in any order: {advice}."
        )
    else:
        rows = _load_dataset(
            source, wanted, where, source.source, source.config, split=source.split, revision=source.revision
        )
    if not len(rows):
        raise RecipeError(f"'{where}.source': {source.source} holds no rows.")
    return rows


@dataclass(frozen=True)
class SourceFiles:
    """What a source is here; nothing of it: the Hub id of a dataset."""

    manifest: Path | None = None
    parquet: list[Path] = field(default_factory=list)
    tars: list[Path] = field(default_factory=list)


def wanted_keys(source: DataSource, where: str) -> Sequence[str]:
    """Which of the keys of a row a source gives.

    Raises:
        RecipeError: it names another.
    """
    wanted = source.use if source.use is not None else ROW_KEYS
    if unknown := sorted({*wanted, *source.columns} - set(ROW_KEYS)):
        raise RecipeError(f"'{where}' names '{unknown[0]}'; a row holds {', '.join(ROW_KEYS)}.")
    return wanted


def find_files(source: DataSource, where: str) -> SourceFiles:
    """The files of a source, sorted by name.

    Raises:
        RecipeError: it is neither here nor an id.
    """
    if re.match(r"\w+://|data:", source.source) or len(source.source) > LONGEST_PATH:
        raise RecipeError(
            f"'{where}.source': {describe_audio(source.source)} is no path. A source is a manifest or folder here, or the Hub id of a dataset."
        )
    path = Path(source.source).expanduser()
    found: list[Path] = []
    if os.path.isdir(path):
        if (manifest := find_manifest(path, source.split)) is not None:
            return SourceFiles(manifest)
        split = glob.escape(source.split)
        for pattern in (f"{split}-*.parquet", f"{split}-*.tar", "*.tar"):
            found = found or sorted(path.glob(pattern))
    elif os.path.isfile(path):
        found = [path]
    elif glob.has_magic(str(path)):
        found = sorted(map(Path, glob.glob(str(path))))
    if found and all(file.suffix == ".parquet" for file in found):
        return SourceFiles(parquet=found)
    if found and all(file.suffix == ".tar" for file in found):
        return SourceFiles(tars=found)
    if len(found) == 1:
        return SourceFiles(found[0])
    if (
        found
        or os.path.exists(path)
        or path.suffix.lower() in (*SUFFIXES, ".parquet", ".tar")
        or path.is_absolute()
        or source.source.startswith(".")
    ):
        raise RecipeError(
            f"'{where}.source': there is no manifest {path}, nor a folder with {source.split}-*.parquet, {source.split}.tsv, manifest.jsonl or *.tar."
        )
    return SourceFiles()


def _read_manifest(manifest: Path, source: DataSource, wanted: Sequence[str], where: str) -> ManifestRows:
    rows = ManifestRows()
    seconds: list[Any] = []
    columns = {key: source.columns.get(key, key) for key in wanted}
    try:
        for line, values in read_manifest(manifest):
            place = f"'{where}': {manifest}, line {line}"
            check_columns(source, wanted, values, place)
            row = dict.fromkeys(ROW_KEYS) | {key: values.get(column) for key, column in columns.items()}
            try:
                row["audio"] = audio_beside(manifest, row["audio"])
                row |= {key: as_text(row[key], columns.get(key, key)) for key in TEXT_KEYS}
            except ValueError as error:
                raise RecipeError(f"{place}: {error}.") from error
            if row["audio"] is None and row["question"] is None:
                raise RecipeError(f"{place} has neither audio nor a question.")
            rows.append(row | switches_of(source))
            seconds.append(values.get("seconds"))
    except TextFileError as error:
        raise RecipeError(f"'{where}.source': {error}") from error
    if _first_unknown(seconds) is None:
        rows.seconds = seconds
    return rows


def check_rows(rows: Any, where: str, needs_text: bool) -> None:
    """That the file of each row in memory is there, and that it has what its answer is learnt from; other rows are looked at when they are read.

    Args:
        rows: see [`load_rows`].
        where: their place in the recipe, for the error.
        needs_text: whether audio alone teaches nothing.

    Raises:
        RecipeError: a file is missing or empty, or a row has neither a transcript nor an answer.
    """
    if not isinstance(rows, ManifestRows):
        return
    for number, row in enumerate(rows):
        audio = row["audio"]
        if audio is None:
            continue
        place = f"'{where}', row {number} ({describe_audio(audio)})"
        if isinstance(audio, str) and is_path(audio):
            path = Path(audio).expanduser()
            if not path.is_file():
                raise RecipeError(f"{place}: there is no such file.")
            if not path.stat().st_size:
                raise RecipeError(f"{place}: the file is empty.")
        if needs_text and not row["transcript"] and not row["answer"]:
            raise RecipeError(
                f"{place} has neither a transcript nor an answer. Is a key of it misspelt? A row holds {', '.join(ROW_KEYS)}."
            )


def check_columns(source: DataSource, wanted: Sequence[str], found: Collection[str], place: str) -> None:
    """That a source, or one row, has the columns that the recipe names, and none of ours under another name.

    Raises:
        RecipeError: it has not; the message begins with `place`.
    """
    columns = {key: source.columns.get(key, key) for key in wanted}
    if missing := [column for key, column in columns.items() if key in source.columns and column not in found]:
        raise RecipeError(f"{place} has no column '{missing[0]}'; it has {listed(found)}.")
    present = [key for key, column in columns.items() if column in found]
    likely = {
        key: name
        for key in wanted
        if key not in present
        for name in LIKELY_COLUMNS.get(key, ())
        if name in found and name not in columns.values()
    }
    hint = "columns: {" + (
        ", ".join(f"{key}: {name}" for key, name in likely.items()) or "audio: ..., transcript: ..."
    )
    if not {"audio", "question"} & set(present):
        raise RecipeError(
            f"{place} has neither audio nor a question; it has the columns {listed(found)}. Say which is which: {hint}}}."
        )
    if likely and source.use is None:
        key, name = next(iter(likely.items()))
        raise RecipeError(
            f"{place} has no column '{key}', but '{name}'. Say so with {hint}}}, or leave that out with use: [{', '.join(present)}]."
        )


def _load_dataset(
    source: DataSource, wanted: Sequence[str], where: str, *load_arguments: Any, **load_settings: Any
) -> HubRows:
    try:
        datasets = import_extra("datasets", "train", f"{source.source} is no manifest here, and reading it")
    except MissingExtraError as error:
        raise RecipeError(f"'{where}.source': {error}") from error
    try:
        dataset = datasets.load_dataset(*load_arguments, **load_settings)
    except Exception as error:  # of the Hub, of Arrow, of the connection, of the disk
        raise RecipeError(
            f"'{where}.source': {source.source} cannot be loaded: {explain(error, source.source) or error}"
        ) from error
    found = dataset.column_names
    check_columns(source, wanted, found, f"'{where}': {source.source}")
    columns = {key: column for key in wanted if (column := source.columns.get(key, key)) in found}
    seconds = dataset["seconds"][:] if "seconds" in found else None
    if source.max_seconds is not None:
        if seconds is None:
            raise RecipeError(
                f"'{where}.max_seconds': {source.source} has no column 'seconds' that says how long its clips are."
            )
        if (unknown := _first_unknown(seconds)) is not None:
            raise RecipeError(
                f"'{where}.max_seconds': row {unknown} of {source.source} has {describe(seconds[unknown])} as its 'seconds'. "
                "Fill them in, or leave max_seconds out."
            )
        short = [index for index, length in enumerate(seconds) if length <= source.max_seconds]
        dataset, seconds = dataset.select(short), [seconds[index] for index in short]
    elif seconds is not None and _first_unknown(seconds) is not None:
        seconds = None
    dataset = dataset.select_columns(sorted(set(columns.values())))
    if "audio" in columns and isinstance(dataset.features[columns["audio"]], datasets.Audio):
        dataset = dataset.cast_column(columns["audio"], datasets.Audio(decode=False))
    return HubRows(dataset, columns, seconds, switches_of(source), source.source)


def _first_unknown(seconds: Sequence[Any]) -> int | None:
    """The first row of which the length is not known."""
    return next(
        (row for row, length in enumerate(seconds) if not isinstance(length, (int, float)) or not length >= 0), None
    )


def switches_of(source: DataSource) -> dict[str, bool]:
    """Keys of every row of a source that say how it teaches; those that keep their default are left out."""
    return {} if source.answer_kl else {ROW_SWITCH: False}
