"""CTC: what emissions say of whole labellings, of labellings that grow symbol by symbol, and of where each symbol lies.

Graves, "Supervised Sequence Labelling with Recurrent Neural Networks" (2012), section 7.3. Emissions are natural logs of the probability of the blank (column 0)
and of every symbol at each frame, `(frames, 1 + symbols)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .alphabet import BLANK


Emissions = NDArray[np.floating]

NEVER = -1e30
"""Natural log of the probability of what cannot be."""


def greedy_labelling(emissions: Emissions) -> list[int]:
    """The labelling of the likeliest path: repeated symbols are one, blanks are nothing."""
    return labelling_of_path(emissions.argmax(axis=1))


def labelling_of_path(path: NDArray[np.integer]) -> list[int]:
    """The labelling of a path, the symbol of each frame: repeated symbols are one, blanks are nothing."""
    begins = np.diff(path, prepend=-1) != 0
    return path[begins & (path != BLANK)].tolist()


def align(emissions: Emissions, labelling: Sequence[int]) -> list[tuple[int, int]]:
    """
    First frame of each symbol and the frame behind its last one, on the likeliest path of a labelling (Viterbi).

    Raises:
        ValueError: there are fewer frames than the labelling needs.
    """
    if not labelling:
        return []
    labels = np.zeros(2 * len(labelling) + 1, dtype=np.int64)
    labels[1::2] = labelling
    needed = len(labelling) + int((labels[3::2] == labels[1:-2:2]).sum())
    if len(emissions) < needed:
        raise ValueError(f"{len(emissions)} frames cannot hold {len(labelling)} symbols, which need {needed}.")
    may_skip = np.zeros(len(labels), dtype=bool)  # from one symbol to the next, where they differ, without a blank
    may_skip[3::2] = labels[3::2] != labels[1:-2:2]
    scores = np.full(len(labels), NEVER)
    scores[:2] = emissions[0, labels[:2]]
    steps = np.zeros((len(emissions), len(labels)), dtype=np.int8)
    for frame in range(1, len(emissions)):
        from_before = np.concatenate([[NEVER], scores[:-1]])
        from_skip = np.where(may_skip, np.concatenate([[NEVER, NEVER], scores[:-2]]), NEVER)
        arrivals = np.stack([scores, from_before, from_skip])
        steps[frame] = arrivals.argmax(axis=0)
        scores = arrivals.max(axis=0) + emissions[frame, labels]
    state = len(labels) - 1 if scores[-1] > scores[-2] else len(labels) - 2
    spans = [(len(emissions), 0)] * len(labelling)
    for frame in range(len(emissions) - 1, -1, -1):
        if state % 2:
            first, end = spans[state // 2]
            spans[state // 2] = min(first, frame), max(end, frame + 1)
        state -= int(steps[frame, state])
    return spans


@dataclass(frozen=True, slots=True)
class Prefix:
    """
    A labelling that grows.

    Attributes:
        on_symbol, on_blank: natural log of the probability that it ends at each frame, on its last symbol or on a blank behind it, `(frames,)`.
        last: its last symbol; -1 where it is empty.
        score: natural log of how likely it is, up to the frame where it is likeliest, against the likeliest path up to there (0 = as likely).
    """

    on_symbol: NDArray[np.float64]
    on_blank: NDArray[np.float64]
    last: int
    score: float


class PrefixForward:
    """
    Forward probabilities of labellings that grow symbol by symbol, many at once.

    Labellings that explain more and less of a recording can be compared: each is compared with the likeliest path up to the frame where it is likeliest.

    Args:
        emissions: `(frames, 1 + symbols)`.
    """

    def __init__(self, emissions: Emissions) -> None:
        self._emissions = emissions
        self._blank = emissions[:, BLANK].astype(np.float64)
        self._blanks = np.cumsum(self._blank)
        self._likeliest = np.cumsum(emissions.max(axis=1), dtype=np.float64)

    def empty(self) -> Prefix:
        """The labelling without a symbol."""
        return Prefix(np.full(len(self._blanks), NEVER), self._blanks, -1, 0.0)

    def extend(self, prefixes: Sequence[Prefix], symbols: NDArray[np.int64]) -> list[Prefix]:
        """Each labelling with one symbol more."""
        on_symbol = np.stack([prefix.on_symbol for prefix in prefixes])
        on_blank = np.stack([prefix.on_blank for prefix in prefixes])
        last = np.array([prefix.last for prefix in prefixes])
        # The same symbol again needs a blank between.
        before = np.where((last == symbols)[:, None], on_blank, np.logaddexp(on_symbol, on_blank))
        arrives = _one_later(before, np.where(last < 0, 0.0, NEVER))
        said = self._emissions[:, symbols].T.astype(np.float64)
        so_far = np.cumsum(said, axis=1)
        on_symbol = so_far + np.logaddexp.accumulate(arrives - (so_far - said), axis=1)
        on_blank = self._blanks + np.logaddexp.accumulate(
            _one_later(on_symbol, np.full(len(symbols), NEVER)) - (self._blanks - self._blank), axis=1
        )
        scores = (np.logaddexp(on_symbol, on_blank) - self._likeliest).max(axis=1)
        return [
            Prefix(on_symbol[index], on_blank[index], int(symbol), float(scores[index]))
            for index, symbol in enumerate(symbols)
        ]

    def score_whole(self, prefix: Prefix) -> float:
        """Natural log of how likely a labelling is for the whole recording, against the likeliest path."""
        return float(np.logaddexp(prefix.on_symbol[-1], prefix.on_blank[-1]) - self._likeliest[-1])


def _one_later(values: NDArray[np.float64], first: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate([first[:, None], values[:, :-1]], axis=1)
