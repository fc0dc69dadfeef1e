"""The sources of a recipe as a stream."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...extras import MissingExtraError, import_extra
from ...hub_access import explain
from ...processing.manifests import as_text, describe
from ..examples import ROW_KEYS
from ..recipe import DataSection, DataSource, RecipeError
from ..recipe_data import TEXT_KEYS, SourceFiles, check_columns, find_files, switches_of, wanted_keys
from .mixture import StreamedRows, StreamedSource
from .shards import DatasetShard, ParquetShard, Shard, ShardError, TarShard, json_lines_shards


SECONDS_COLUMN = "seconds"


def load_stream(data: DataSection, seed: int) -> StreamedRows:
    """
    The training rows of a recipe as a stream; of each source one row is read.

    Args:
        data: of the recipe.
        seed: of the order.

    Raises:
        RecipeError: a source that is not there, holds no rows, lacks a column or cannot be streamed.
    """
    if data.shuffle_buffer < 1:
        raise RecipeError(f"'data.shuffle_buffer' must be 1 (no shuffling) or more, but is {data.shuffle_buffer}.")
    sources = []
    for index, source in enumerate(data.train):
        where = f"data.train.{index}"
        _check_shares(source, data.train, where)
        sources.append(_stream_of(source, where))
    return StreamedRows(sources, seed, data.shuffle_buffer)


def _check_shares(source: DataSource, sources: Sequence[DataSource], where: str) -> None:
    if source.repeat < 1 or source.repeat != int(source.repeat):
        raise RecipeError(
            f"'{where}.repeat' is {source.repeat:g}; of a stream it is a whole number, 1 or more. `weight` makes a source rarer than others."
        )
    weighted = [each.weight is not None for each in sources]
    if any(weighted) and not all(weighted):
        raise RecipeError(
            f"'data.train.{weighted.index(False)}' has no weight, but others have: give all of them one, or none."
        )
    if source.weight is not None and not 0 < source.weight < float("inf"):
        raise RecipeError(f"'{where}.weight' must be above 0, but is {source.weight:g}.")
    if source.weight is not None and source.repeat != 1:
        raise RecipeError(
            f"'{where}' has both weight and repeat: a source with a weight begins anew whenever it ends."
        )


def _stream_of(source: DataSource, where: str) -> StreamedSource:
    wanted = wanted_keys(source, where)
    files = find_files(source, where)
    read = RowReader(source, tuple(wanted), where)
    shards = _shards(source, files, read.columns, where)
    try:
        first = next((row for shard in shards for row in shard.rows(0, 1)), None)
    except ShardError as error:
        raise RecipeError(f"'{where}.source': {error}") from error
    if first is None:
        raise RecipeError(f"'{where}.source': {source.source} holds no rows.")
    if isinstance(shards[0], ParquetShard):  # of which only some columns are read
        check_columns(source, wanted, shards[0].column_names(), f"'{where}': {shards[0].path}")
    read(first[1], first[0])
    return StreamedSource(source.source, shards, read, int(source.repeat), source.weight)


def _shards(source: DataSource, files: SourceFiles, columns: dict[str, str], where: str) -> Sequence[Shard]:
    if files.tars:
        return [TarShard(str(path)) for path in files.tars]
    if files.parquet:
        return [ParquetShard(str(path), (*columns.values(), SECONDS_COLUMN)) for path in files.parquet]
    if files.manifest is not None:
        if files.manifest.suffix.lower() not in (".jsonl", ".ndjson"):
            raise RecipeError(
                f"'{where}.source': {files.manifest} is no stream; of manifests only JSON lines (.jsonl) are. Leave data.stream out, or write it as .jsonl."
            )
        return json_lines_shards(str(Path(files.manifest)), columns.get("audio", "audio"))
    return _hub_shards(source, columns, where)


def _hub_shards(source: DataSource, columns: dict[str, str], where: str) -> list[DatasetShard]:
    try:
        datasets = import_extra("datasets", "train", f"{source.source} is no manifest here, and reading it")
    except MissingExtraError as error:
        raise RecipeError(f"'{where}.source': {error}") from error
    try:
        dataset = datasets.load_dataset(
            source.source, source.config, split=source.split, revision=source.revision, streaming=True
        )
    except Exception as error:  # of the Hub, of Arrow, of the connection, of the disk
        raise RecipeError(
            f"'{where}.source': {source.source} cannot be loaded: {explain(error, source.source) or error}"
        ) from error
    for name, feature in (dataset.features or {}).items():
        if isinstance(feature, datasets.Audio):  # as plain bytes: nothing decodes them here
            dataset = dataset.cast_column(name, {"bytes": datasets.Value("binary"), "path": datasets.Value("string")})
    if dataset.column_names is not None:
        needed = {*columns.values(), SECONDS_COLUMN}
        dataset = dataset.select_columns(
            [name for name in dataset.column_names if name in needed] or dataset.column_names
        )
    return [DatasetShard(dataset, source.source, index) for index in range(dataset.num_shards)]


@dataclass(frozen=True)
class RowReader:
    """Makes a training row of a source's.

    Args:
        source: of the recipe.
        wanted: keys that it gives.
        where: its place in the recipe, for errors.
    """

    source: DataSource
    wanted: tuple[str, ...]
    where: str

    @property
    def columns(self) -> dict[str, str]:
        """Which column is which key."""
        return {key: self.source.columns.get(key, key) for key in self.wanted}

    def __call__(self, values: dict[str, Any], place: str) -> dict[str, Any] | None:
        """The row, or `None` for one that is longer than `max_seconds`.

        Raises:
            RecipeError: it lacks a column, or holds something else in one.
        """
        place = f"'{self.where}': {place}"
        check_columns(self.source, self.wanted, values, place)
        if self.source.max_seconds is not None:
            seconds = values.get(SECONDS_COLUMN)
            if not isinstance(seconds, (int, float)) or not seconds >= 0:
                raise RecipeError(
                    f"{place} has {describe(seconds)} as its '{SECONDS_COLUMN}', so max_seconds cannot be kept. Fill it in, or leave max_seconds out."
                )
            if seconds > self.source.max_seconds:
                return None
        row = dict.fromkeys(ROW_KEYS) | {key: values.get(column) for key, column in self.columns.items()}
        try:
            row |= {key: as_text(row[key], self.columns.get(key, key)) for key in TEXT_KEYS}
        except ValueError as error:
            raise RecipeError(f"{place}: {error}.") from error
        if row["audio"] is None and row["question"] is None:
            raise RecipeError(f"{place} has neither audio nor a question.")
        return row | switches_of(self.source)
