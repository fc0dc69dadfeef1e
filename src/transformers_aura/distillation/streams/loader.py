"""Batches of a stream, made in workers, with the place of each worker: what a checkpoint keeps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info
from transformers.utils import logging

from .mixture import Place, StreamedRows
from .shards import JsonLinesShard


logger = logging.get_logger(__name__)

STATE_VERSION = 1


class StreamLoader:
    """The batches of one process, epoch by epoch; goes on where an earlier one was.

    Workers take turns, and each batch brings along the place of the worker behind it. Whatever workers have read ahead, [`state_dict`] is of the batches that were taken.
    A loader that goes on lets its first worker do what was to be next, so that the order of the batches is that of a run without a stop.

    Args:
        rows: the stream.
        collator: makes a batch of rows.
        batch_size: rows of a batch.
        num_workers: processes that read and collate; 0 = this one.
        rank, world_size: of this process.
        drop_last: leave out each worker's last batch where it is smaller.
        settings: further ones of [`~torch.utils.data.DataLoader`].
    """

    def __init__(
        self,
        rows: StreamedRows,
        collator: Callable[[list[dict[str, Any]]], dict[str, Any]],
        batch_size: int,
        num_workers: int = 0,
        rank: int = 0,
        world_size: int = 1,
        drop_last: bool = False,
        **settings: Any,
    ) -> None:
        self.rows = rows
        self.rank = rank
        self.world_size = world_size
        self.num_readers_here = max(num_workers, 1)
        self.epoch = 0
        self._collator = collator
        self._batch_size = batch_size
        self._drop_last = drop_last
        self._settings = {"num_workers": num_workers, **settings}
        self._forget()

    def _forget(self) -> None:
        self._places: dict[int, Place] = {}
        self._turn = 0
        self._num_skipped = 0

    def set_epoch(self, epoch: int) -> None:
        """Tell which epoch begins; that in which a run goes on keeps its places."""
        if epoch != self.epoch:
            self._forget()
        self.epoch = epoch

    def warn_of_few_shards(self) -> None:
        """Say which sources have fewer shards than there are readers; lines of a manifest are passed over at no cost."""
        readers = self.world_size * self.num_readers_here
        for source in self.rows.sources:
            if len(source.shards) < readers and not isinstance(source.shards[0], JsonLinesShard):
                logger.warning(
                    f"{source.name} has {len(source.shards)} shard(s) for {readers} readers ({self.world_size} process(es) x {self.num_readers_here} worker(s)): "
                    f"several read the same shard, each takes its own rows of it. Cut it into {readers} shards or more, or use fewer workers."
                )

    def state_dict(self) -> dict[str, Any]:
        """Where this process is, of values that JSON takes."""
        return {
            **self._identity(),
            "epoch": self.epoch,
            "turn": self._turn,
            "places": {str(key): value for key, value in self._places.items()},
        }

    def _identity(self) -> dict[str, Any]:
        return {
            "version": STATE_VERSION,
            "stream": self.rows.fingerprint,
            "processes": self.world_size,
            "workers": self.num_readers_here,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state.

        Raises:
            ValueError: it is that of another stream, or of other numbers of processes or workers; the message says which.
        """
        for key, own in self._identity().items():
            if state.get(key) != own:
                what = (
                    "of other sources, seed or buffer" if key == "stream" else f"of {state.get(key)} {key}, not {own}"
                )
                raise ValueError(f"the state is {what}")
        self._forget()
        self.epoch, self._turn = state["epoch"], state["turn"]
        self._places = {int(key): value for key, value in state["places"].items()}

    def skip(self, num_batches: int) -> None:
        """Read so many batches of the epoch that comes, without giving them out."""
        self._forget()
        self._num_skipped = num_batches

    def __iter__(self) -> Iterator[dict[str, Any]]:
        workers = self.num_readers_here
        batches = _Batches(
            self.rows, self._collator, self._batch_size, self._drop_last, self.epoch, self.rank, self.world_size, workers,
            dict(self._places), self._turn,
        )  # fmt: skip
        # With a generator of its own, so that it draws nothing from that of the training.
        loader = DataLoader(
            batches, batch_size=None, collate_fn=_as_it_is, generator=torch.Generator(), **self._settings
        )
        skipped, self._num_skipped = self._num_skipped, 0
        for number, (worker, batch, place) in enumerate(loader):
            if isinstance(batch, Exception):
                raise batch
            self._places[worker] = place
            self._turn = (worker + 1) % workers
            if number >= skipped:
                yield batch


class _Batches(IterableDataset):
    """What one worker of a data loader reads: its number, a batch (or the error that ended it), and its place behind that."""

    def __init__(
        self,
        rows: StreamedRows,
        collator: Callable[[list[dict[str, Any]]], dict[str, Any]],
        batch_size: int,
        drop_last: bool,
        epoch: int,
        rank: int,
        world_size: int,
        num_workers: int,
        places: dict[int, Place],
        turn: int,
    ) -> None:
        self.rows, self.collator, self.batch_size, self.drop_last = rows, collator, batch_size, drop_last
        self.epoch, self.rank, self.world_size, self.num_workers = epoch, rank, world_size, num_workers
        self.places, self.turn = places, turn

    def __iter__(self) -> Iterator[tuple[int, Any, Place | None]]:
        info = get_worker_info()
        worker = ((0 if info is None else info.id) + self.turn) % self.num_workers
        reader = self.rank + self.world_size * worker
        rows = self.rows.read(self.epoch, reader, self.world_size * self.num_workers, self.places.get(worker))
        try:
            while read := list(islice(rows, self.batch_size)):
                if len(read) == self.batch_size or not self.drop_last:
                    yield worker, self._collate(read), read[-1][2]
        except (ValueError, OSError) as error:  # for the main process, which says it without a worker's traceback
            yield worker, error, None

    def _collate(self, read: Sequence[tuple[dict[str, Any], str, Place]]) -> dict[str, Any]:
        try:
            return self.collator([row for row, _, _ in read])
        except (ValueError, OSError):
            for row, where, _ in read:
                try:
                    self.collator([row])
                except (ValueError, OSError) as error:
                    raise ValueError(f"{where}: {error}") from error
            raise


def _as_it_is(batch: Any) -> Any:
    return batch
