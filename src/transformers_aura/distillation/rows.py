"""Training rows that know their number and epoch, so that augmentation repeats exactly after a resume."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, IterableDataset

from .collator import AUGMENTATION_SEED_KEY


class _Seeds:
    """Augmentation seeds from (seed, epoch, row number); the epoch is shared with the worker processes of a data loader."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.epoch = torch.zeros(1, dtype=torch.long).share_memory_()

    def add_to(self, row: Mapping[str, Any], number: int) -> dict[str, Any]:
        sequence = np.random.SeedSequence([self.seed, int(self.epoch), number])
        return {**row, AUGMENTATION_SEED_KEY: int(sequence.generate_state(1, np.uint64)[0])}


class NumberedRows(Dataset):
    """A map-style dataset whose rows carry an augmentation seed that depends on `seed`, the epoch and the row's number."""

    def __init__(self, dataset: Any, seed: int) -> None:
        self.dataset = dataset
        self.seeds = _Seeds(seed)

    def set_epoch(self, epoch: int) -> None:
        """Tell which pass over the data begins."""
        self.seeds.epoch.fill_(epoch)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.seeds.add_to(self.dataset[index], index)


class NumberedStream(IterableDataset):
    """The same for a dataset that can only be iterated over."""

    def __init__(self, dataset: Any, seed: int) -> None:
        self.dataset = dataset
        self.seeds = _Seeds(seed)

    def set_epoch(self, epoch: int) -> None:
        """Tell which pass over the data begins."""
        self.seeds.epoch.fill_(epoch)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for number, row in enumerate(self.dataset):
            yield self.seeds.add_to(row, number)
