"""What every scorer gets and gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np


@dataclass(frozen=True)
class Reference:
    """What is true of one item.

    Attributes:
        accepted: accepted answers; or the one transcript, translation or JSON object of slots.
        needed: how many of the accepted answers an answer must name.
        question: what was asked, in words, for scorers that judge with it.
    """

    accepted: tuple[str, ...]
    needed: int = 1
    question: str | None = None


class Scorer(Protocol):
    """Scores answers one by one, with statistics whose sums give the figure of any set of items.

    Attributes:
        name: `"squad_f1"`, a column of every table.
        higher_is_better: whether more is better.
        is_share: whether the figure is a share or rate of 1, shown as per cent; else it runs from 0 to 100.
    """

    @property
    def name(self) -> str: ...

    @property
    def higher_is_better(self) -> bool: ...

    @property
    def is_share(self) -> bool: ...

    @property
    def identity(self) -> dict[str, Any]:
        """Name, version, every argument and the versions of libraries, for the result file."""
        ...

    def statistics(self, answer: str, reference: Reference) -> tuple[float, ...]:
        """Numbers of one item.

        Args:
            answer: what a system said.
            reference: what is true.

        Returns:
            as many numbers for every item; those of several items are summed.
        """
        ...

    def value(self, sums: np.ndarray) -> np.ndarray:
        """The figure of any set of items.

        Args:
            sums (`np.ndarray` of shape `(..., num_statistics)`): summed statistics.

        Returns:
            `np.ndarray` of shape `(...)`.
        """
        ...


def ratio(sums: np.ndarray) -> np.ndarray:
    """First statistic over second; 0 where nothing was counted."""
    sums = np.asarray(sums, dtype=np.float64)
    return np.divide(sums[..., 0], sums[..., 1], out=np.zeros(sums.shape[:-1]), where=sums[..., 1] > 0)
