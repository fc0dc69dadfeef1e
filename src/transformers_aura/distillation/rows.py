"""Rows that know their number: in training with the epoch, so that augmentation repeats exactly after a resume."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, IterableDataset, Sampler

from .examples import AUGMENTATION_SEED_KEY, ROW_NUMBER_KEY


class _Seeds:
    """Augmentation seeds from (seed, epoch, row number); the epoch is shared with the worker processes of a data loader."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.epoch = torch.zeros(1, dtype=torch.long).share_memory_()

    def add_to(self, row: Mapping[str, Any], number: int) -> dict[str, Any]:
        sequence = np.random.SeedSequence([self.seed, int(self.epoch), number])
        return {**row, AUGMENTATION_SEED_KEY: int(sequence.generate_state(1, np.uint64)[0])}


class _Numbered:
    """What both kinds of datasets share."""

    def __init__(self, dataset: Any, seed: int) -> None:
        self.dataset = dataset
        self.seeds = _Seeds(seed)

    def set_epoch(self, epoch: int) -> None:
        """Tell which pass over the data begins; a dataset that shuffles itself anew for each is told so too."""
        self.seeds.epoch.fill_(epoch)
        if hasattr(self.dataset, "set_epoch"):
            self.dataset.set_epoch(epoch)


class NumberedRows(_Numbered, Dataset):
    """A map-style dataset whose rows carry an augmentation seed that depends on `seed`, the epoch and the row's number."""

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.seeds.add_to(self.dataset[index], index)


class NumberedStream(_Numbered, IterableDataset):
    """The same for a dataset that can only be iterated over."""

    def __iter__(self) -> Iterator[dict[str, Any]]:
        self.set_epoch(
            int(self.seeds.epoch)
        )  # here too: a process of a data loader that lives on has a copy of the dataset
        for number, row in enumerate(self.dataset):
            yield self.seeds.add_to(row, number)


class ChosenRows(Dataset):
    """Some rows of a map-style dataset, each with its number.

    Args:
        dataset: all rows.
        numbers: of the chosen ones, in the order in which they are read.
    """

    def __init__(self, dataset: Any, numbers: Sequence[int]) -> None:
        self.dataset = dataset
        self.numbers = numbers

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int) -> dict[str, Any]:
        number = self.numbers[index]
        return {**self.dataset[number], ROW_NUMBER_KEY: number}


def seconds_of(dataset: Any) -> Sequence[float]:
    """Seconds of audio of each row of a dataset that knows them: `dataset.seconds`, as the rows of a recipe may have.

    Raises:
        ValueError: the dataset does not know them.
    """
    seconds = getattr(dataset, "seconds", None)
    if seconds is None or len(seconds) != len(dataset):
        raise ValueError(
            "`train_sampling_strategy='group_by_length'` needs the length of every clip: sources of a recipe with a column "
            "`seconds`, or a dataset with an attribute `seconds`. Use 'random' otherwise."
        )
    return seconds


class LengthGroupedBatches(Sampler[int]):
    """Random order, in which the rows of an optimisation step have clips of about the same length, so that little is padded.

    All rows are shuffled, sorted by length within groups of 50 steps, cut into steps, and the steps shuffled: unlike transformers'
    sampler, long and short clips do not take turns over the epoch.

    The order depends on the seed and the rows' epoch alone, so it is the same in every process and after a resume.

    Args:
        rows: over a dataset with `seconds`.
        step_size: rows of one step, over all processes and micro-batches.
        seed: of the order; that of the rows if not given.
    """

    steps_per_group = 50

    def __init__(self, rows: NumberedRows, step_size: int, seed: int | None = None) -> None:
        self.seconds = np.asarray(seconds_of(rows.dataset))
        self.epoch = rows.seeds.epoch
        self.step_size = step_size
        self.seed = rows.seeds.seed if seed is None else seed

    def __len__(self) -> int:
        return len(self.seconds)

    def __iter__(self) -> Iterator[int]:
        generator = np.random.default_rng([self.seed, int(self.epoch)])
        order = generator.permutation(len(self.seconds))
        steps: list[np.ndarray] = []
        for start in range(0, len(order), self.steps_per_group * self.step_size):
            group = order[start : start + self.steps_per_group * self.step_size]
            group = group[np.argsort(self.seconds[group], kind="stable")]
            steps += np.split(group, range(self.step_size, len(group), self.step_size))
        whole = [step for step in steps if len(step) == self.step_size]
        rest = [step for step in steps if len(step) < self.step_size]
        for step in [whole[index] for index in generator.permutation(len(whole))] + rest:
            yield from step.tolist()
