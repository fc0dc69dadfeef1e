"""Rows for training, from the data sources of a recipe: JSONL manifests, folders of Parquet files, Hub datasets."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch.utils.data import Dataset

from .examples import ROW_KEYS
from .objectives.answer_kl import ROW_SWITCH
from .recipe import DataSource, RecipeError


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

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        number, row = self._order[index]
        return self._rows[number][row]


class HubRows(Dataset):
    """Rows of a `datasets.Dataset` under our names; audio stays encoded until the collator loads it."""

    def __init__(
        self,
        dataset: Any,
        columns: dict[str, str],
        seconds: list[float] | None = None,
        switches: dict[str, bool] | None = None,
    ) -> None:
        self._dataset = dataset
        self._columns = columns
        self._switches = switches or {}
        self.seconds = seconds

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> dict[str, Any]:
        row = self._dataset[index]
        values = {key: row[self._columns[key]] if key in self._columns else None for key in ROW_KEYS}
        return {**values, **self._switches}


def load_rows(sources: Sequence[DataSource], where: str) -> Any:
    """
    All rows of a list of sources.

    Args:
        sources (`Sequence[DataSource]`): from the recipe.
        where (`str`): their place in the recipe, for errors (`"data.train"`).

    Returns:
        dicts of `audio`, `transcript`, `question`, `answer`, audio as whatever `load_audio` takes; with `answer_kl: False` where the
        source says so. A list where every source is a manifest, else [`MixedRows`].

    Raises:
        RecipeError: a source that is not there, holds no rows, or lacks a column.
    """
    loaded = []
    for index, source in enumerate(sources):
        place = f"{where}.{index}"
        rows = load_source(source, place)
        if source.repeat <= 0:
            raise RecipeError(f"'{place}.repeat' must be above 0, but is {source.repeat:g}.")
        loaded.append((rows, source.repeat))
    mixed = MixedRows(loaded)
    return list(mixed) if all(isinstance(rows, list) for rows, _ in loaded) else mixed


def load_context_texts(path: str | None) -> list[str] | None:
    """The lines of `data.context_texts`, or `None`."""
    if path is None:
        return None
    if not Path(path).is_file():
        raise RecipeError(f"'data.context_texts': there is no file {path}.")
    texts = [line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines() if line.strip()]
    if not texts:
        raise RecipeError(f"'data.context_texts': {path} is empty.")
    return texts


def load_source(source: DataSource, where: str) -> Any:
    """The rows of one source, a sequence of dicts; see [`load_rows`]."""
    wanted = source.use if source.use is not None else ROW_KEYS
    if unknown := sorted({*wanted, *source.columns} - set(ROW_KEYS)):
        raise RecipeError(f"'{where}' names '{unknown[0]}'; a row holds {', '.join(ROW_KEYS)}.")
    path = Path(source.source)
    manifest = path / "manifest.jsonl" if path.is_dir() else path
    if manifest.is_file():
        if source.max_seconds is not None:
            raise RecipeError(
                f"'{where}.max_seconds' is for Parquet files and Hub datasets; {manifest} is a manifest."
            )
        rows: Any = _read_manifest(manifest, source, wanted, where)
    elif path.is_dir() and (shards := sorted(path.glob(f"{source.split}-*.parquet"))):
        rows = _load_dataset(
            source, wanted, where, "parquet", data_files=[str(shard) for shard in shards], split="train"
        )
    elif path.exists() or path.suffix == ".jsonl" or path.is_absolute() or source.source.startswith("."):
        raise RecipeError(
            f"'{where}.source': there is no manifest {manifest}, nor a folder with {source.split}-*.parquet."
        )
    else:
        rows = _load_dataset(
            source, wanted, where, source.source, source.config, split=source.split, revision=source.revision
        )
    if not len(rows):
        raise RecipeError(f"'{where}.source': {source.source} holds no rows.")
    return rows


def _read_manifest(manifest: Path, source: DataSource, wanted: Sequence[str], where: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    columns = {key: source.columns.get(key, key) for key in wanted}
    with manifest.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                values = json.loads(line)
            except json.JSONDecodeError as error:
                raise RecipeError(f"{manifest}, line {number} is not JSON: {error}") from error
            missing = [column for key, column in columns.items() if key in source.columns and column not in values]
            if missing:
                raise RecipeError(f"'{where}.columns': {manifest}, line {number} has no '{missing[0]}'.")
            row = dict.fromkeys(ROW_KEYS) | {key: values.get(column) for key, column in columns.items()}
            row |= _switches(source)
            if isinstance(row["audio"], str) and "://" not in row["audio"]:
                # Paths in a manifest are relative to the manifest.
                row["audio"] = str(manifest.parent / row["audio"])
            if row["audio"] is None and row["question"] is None:
                raise RecipeError(
                    f"'{where}': {manifest}, line {number} has neither audio nor a question; it has the columns {', '.join(values)}. "
                    f"Name the right ones: columns: {{audio: ..., transcript: ...}}."
                )
            rows.append(row)
    return rows


def _load_dataset(
    source: DataSource, wanted: Sequence[str], where: str, *load_arguments: Any, **load_settings: Any
) -> HubRows:
    try:
        import datasets
    except ImportError as error:
        raise RecipeError(
            f"'{where}.source': {source.source} is no manifest here, and reading it needs `pip install transformers-aura[train]`."
        ) from error
    dataset = datasets.load_dataset(*load_arguments, **load_settings)
    columns = {key: source.columns.get(key, key) for key in wanted}
    columns = {
        key: column for key, column in columns.items() if column in dataset.column_names or key in source.columns
    }
    if missing := [column for column in columns.values() if column not in dataset.column_names]:
        raise RecipeError(
            f"'{where}.columns': {source.source} has no column '{missing[0]}'; it has {', '.join(dataset.column_names)}."
        )
    if not {"audio", "question"} & columns.keys():
        raise RecipeError(
            f"'{where}': {source.source} has the columns {', '.join(dataset.column_names)}; say which is which: columns: {{audio: ..., transcript: ...}}."
        )
    if source.max_seconds is not None:
        if "seconds" not in dataset.column_names:
            raise RecipeError(
                f"'{where}.max_seconds': {source.source} has no column 'seconds' that says how long its clips are."
            )
        short = [index for index, seconds in enumerate(dataset["seconds"]) if seconds <= source.max_seconds]
        dataset = dataset.select(short)
    seconds = dataset["seconds"][:] if "seconds" in dataset.column_names else None
    dataset = dataset.select_columns(sorted(set(columns.values())))
    if "audio" in columns and isinstance(dataset.features[columns["audio"]], datasets.Audio):
        dataset = dataset.cast_column(columns["audio"], datasets.Audio(decode=False))
    return HubRows(dataset, columns, seconds, _switches(source))


def _switches(source: DataSource) -> dict[str, bool]:
    """Keys of every row of a source that say how it teaches; those that keep their default are left out."""
    return {} if source.answer_kl else {ROW_SWITCH: False}
