"""Sources of a stream as one: which row comes next, for one of several readers, and where that reader is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any, TypeAlias

import numpy as np
from torch.utils.data import IterableDataset

from ..examples import AUGMENTATION_SEED_KEY
from .shards import Shard


DEFAULT_BUFFER = 1000

_SHARDS, _WINDOW, _AUGMENTATION = range(3)
"""What random numbers are drawn for."""

Place: TypeAlias = dict[str, Any]
"""Where a reader is, behind a row: the beginning of the window that it has in memory, and how many of its rows are delivered. Made of numbers that JSON takes."""


@dataclass(frozen=True)
class StreamedSource:
    """One source of a stream.

    Args:
        name: for errors.
        shards: what it is read from.
        read: makes a training row of a shard's, `None` = left out; gets the row's place for its errors.
        repeat: how often an epoch sees it.
        weight: share of the rows, relative to those of the other sources; `None` = no shares.
    """

    name: str
    shards: Sequence[Shard] = field(repr=False)
    read: Callable[[dict[str, Any], str], dict[str, Any] | None] = field(repr=False)
    repeat: int = 1
    weight: float | None = None


@dataclass
class _Position:
    """How far one reader is in one source: passes that it finished, the shard of this pass (in its order), the next row of that shard; rows of this pass and all
    rows."""

    passes: int = 0
    shard: int = 0
    row: int | None = None
    in_pass: int = 0
    drawn: int = 0


class StreamedRows(IterableDataset):
    """Rows of several sources, mixed, in an order of their own in each epoch.

    Several readers (processes, and workers of their data loaders) divide an epoch among them: each row has one reader. A source is divided by its shards; where it has
    fewer than there are readers, several read a shard and each takes every n-th row of it.

    **Mixing**: the next row is of the source that is furthest behind its share. Without weights all shares are equal, a source that ends drops out, and an epoch is every
    row, `repeat` times. With weights a source that ends begins anew, so that shares hold to the end; the epoch ends when all have been seen whole.

    **Shuffling**: the order of the shards is drawn; then rows within windows of `buffer_size`, which are held in memory. Both depend on seed, epoch and reader alone, so
    that a reader goes on from a few numbers ([`Place`]): it reads one window again, and no more.

    Iterating over it gives all rows of the first epoch, as one reader would get them.

    Args:
        sources: all with a weight, or none.
        seed: of the order.
        buffer_size: rows of a window. 1 = rows of a shard keep their order.
    """

    def __init__(self, sources: Sequence[StreamedSource], seed: int = 0, buffer_size: int = DEFAULT_BUFFER) -> None:
        self.sources = list(sources)
        self.seed = seed
        self.buffer_size = buffer_size

    @property
    def num_shards(self) -> list[int]:
        """Of each source."""
        return [len(source.shards) for source in self.sources]

    @property
    def fingerprint(self) -> str:
        """Tells whether a [`Place`] is one in this stream."""
        parts = [[[shard.name for shard in each.shards], each.repeat, each.weight] for each in self.sources]
        content = json.dumps([parts, self.seed, self.buffer_size]).encode()
        return hashlib.blake2b(content, digest_size=16).hexdigest()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for row, _, _ in self.read(epoch=0):
            yield row

    def read(
        self, epoch: int, reader: int = 0, num_readers: int = 1, place: Place | None = None
    ) -> Iterator[tuple[dict[str, Any], str, Place]]:
        """The rows of one reader in one epoch.

        Args:
            epoch: its number.
            reader, num_readers: which of how many.
            place: the one behind the last row that was seen; from the beginning without it.

        Yields:
            a row with the seed of its augmentation, where it stands in its source in words, and the place behind it.

        Raises:
            ShardError, RecipeError, OSError: a shard or a row of it cannot be read.
        """
        positions = (
            [_Position(**values) for values in place["positions"]] if place else [_Position() for _ in self.sources]
        )
        window, delivered = (place["window"], place["delivered"]) if place else (0, 0)
        mixed = self._mixed(positions, epoch, reader, num_readers)
        while True:
            begin = [asdict(position) for position in positions]
            rows: list[Any] = list(islice(mixed, self.buffer_size))
            if not rows:
                return
            order = self._rng(_WINDOW, epoch, reader, window).permutation(len(rows)).tolist()
            for number in range(delivered, len(rows)):
                (row, where), rows[order[number]] = rows[order[number]], None
                seed = self._rng(_AUGMENTATION, epoch, reader, window, number).integers(2**63)
                row[AUGMENTATION_SEED_KEY] = int(seed)
                yield row, where, {"positions": begin, "window": window, "delivered": number + 1}
            window, delivered = window + 1, 0

    def _rng(self, *of: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, *of])

    def _mixed(
        self, positions: list[_Position], epoch: int, reader: int, num_readers: int
    ) -> Iterator[tuple[dict[str, Any], str]]:
        """Rows of all sources; `positions` go along."""
        is_weighted = any(source.weight is not None for source in self.sources)
        passes = [self._pass(index, position, epoch, reader, num_readers) for index, position in enumerate(positions)]
        empty: set[int] = set()  # of which this reader has no row
        while True:
            seen = [
                p.passes >= (1 if is_weighted else source.repeat)
                for p, source in zip(positions, self.sources, strict=True)
            ]
            candidates = [
                index for index in range(len(positions)) if index not in empty and (is_weighted or not seen[index])
            ]
            if not candidates or all(seen[index] for index in candidates):
                return
            chosen = min(
                candidates, key=lambda index: (positions[index].drawn + 1) / (self.sources[index].weight or 1.0)
            )
            position = positions[chosen]
            row = next(passes[chosen], None)
            if row is None:
                if not position.in_pass:
                    empty.add(chosen)
                positions[chosen].passes += 1
                position.shard, position.row, position.in_pass = 0, None, 0
                passes[chosen] = self._pass(chosen, position, epoch, reader, num_readers)
                continue
            position.drawn += 1
            position.in_pass += 1
            yield row

    def _pass(
        self, index: int, position: _Position, epoch: int, reader: int, num_readers: int
    ) -> Iterator[tuple[dict[str, Any], str]]:
        """One reader's rows of a source, to the end of a pass over it; `position` goes along."""
        source = self.sources[index]
        order = self._rng(_SHARDS, epoch, index, position.passes).permutation(len(source.shards)).tolist()
        own, first, step = order[reader::num_readers], 0, 1
        if len(order) < num_readers:
            own = order[reader % len(order) :][:1]
            first, step = reader // len(order), len(range(reader % len(order), num_readers, len(order)))
        while position.shard < len(own):
            if position.row is None:
                position.row = first
            for where, values in source.shards[own[position.shard]].rows(position.row, step):
                position.row += step
                row = source.read(values, where)
                if row is not None:
                    yield row, where
            position.shard, position.row = position.shard + 1, None
