"""How well texts fit what CTC heard: forward probabilities, symbol by symbol, of many texts at once.

The forward variables of Graves, "Supervised Sequence Labelling with Recurrent Neural Networks" (2012, section 7.3). They are compared with the
likeliest path up to the same step, so that texts of which more and less has been heard can be compared: 0 = nothing fits better.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


NEVER = -1e30
"""Natural log of the probability of what cannot be."""

BLANK = 0

SEVERAL_BEGINNINGS = 2.0
"""How much likelier than by its best beginning a symbol may be by all of them, in nats."""


@dataclass(frozen=True, slots=True)
class Forward:
    """Natural log of the probability that a text ends at each of some steps.

    Attributes:
        first: the first of these steps.
        on_symbol, on_blank: where it ends on its last symbol, and on a blank behind it, `(..., steps)`.
    """

    first: int
    on_symbol: np.ndarray
    on_blank: np.ndarray

    @staticmethod
    def stack(texts: Sequence[Forward]) -> Forward:
        """Of several texts, all of the same steps."""
        on_symbol, on_blank = (np.stack([getattr(text, name) for text in texts]) for name in ("on_symbol", "on_blank"))
        return Forward(texts[0].first, on_symbol, on_blank)

    def __getitem__(self, index: int | np.ndarray) -> Forward:
        """Of one of several texts, or of some."""
        return Forward(self.first, self.on_symbol[index], self.on_blank[index])

    @property
    def either(self) -> np.ndarray:
        """Where it ends on either."""
        return np.logaddexp(self.on_symbol, self.on_blank)


class CTCForward:
    """What CTC heard in one clip.

    Args:
        log_probabilities: of the blank (column 0) and every symbol at every step, `(steps, 1 + symbols)`.
    """

    def __init__(self, log_probabilities: np.ndarray) -> None:
        self.log_probabilities = log_probabilities
        self.steps = len(log_probabilities)
        self._blanks = np.cumsum(log_probabilities[:, BLANK], dtype=float)
        self._likeliest = np.cumsum(log_probabilities.max(axis=1), dtype=float)

    def nothing(self) -> Forward:
        """Of the empty text."""
        return Forward(0, np.full(self.steps, NEVER), self._blanks)

    def window(self, forward: Forward, first: int, end: int) -> Forward:
        """Of the steps from `first` to before `end`; behind the steps that it has, nothing more is said."""
        known = slice(max(first, forward.first), max(first, min(end, forward.first + forward.on_symbol.shape[-1])))
        on_symbol = np.full(end - first, NEVER)
        on_blank = np.full(end - first, NEVER)
        if known.start < known.stop:
            on_symbol[known.start - first : known.stop - first] = forward.on_symbol[
                known.start - forward.first : known.stop - forward.first
            ]
            on_blank[known.start - first : known.stop - first] = forward.on_blank[
                known.start - forward.first : known.stop - forward.first
            ]
        last = forward.first + forward.on_symbol.shape[-1] - 1
        behind = max(first, last + 1)
        if behind < end:
            on_blank[behind - first :] = forward.either[-1] + self._blanks[behind:end] - self._blanks[last]
        return Forward(first, on_symbol, on_blank)

    def extend(self, texts: Forward, last: np.ndarray, symbols: np.ndarray, empty: np.ndarray) -> Forward:
        """Of each text with one symbol more.

        Args:
            texts: `(texts, steps)`.
            last: the last symbol of each.
            symbols: the new one of each.
            empty: whether a text is empty.
        """
        each = np.arange(len(symbols))
        arrives, said = self._arrives(texts, each, last, symbols, empty)
        return self._go_on(texts.first, arrives, said)

    def extend_well(
        self,
        texts: Forward,
        parents: np.ndarray,
        last: np.ndarray,
        symbols: np.ndarray,
        empty: np.ndarray,
        worst: np.ndarray,
    ) -> tuple[np.ndarray, Forward, np.ndarray]:
        """Of some texts with one symbol more, those that fit well enough somewhere.

        Args:
            texts: `(texts, steps)`.
            parents: which of them goes on, `(new texts,)`.
            last, empty, worst: of each text its last symbol, whether it is empty, and how well its new ones must fit.
            symbols: the new one of each new text.

        Returns:
            which of the new texts do; their probabilities; and how well they fit, see [`fits`].
        """
        arrives, said = self._arrives(texts, parents, last[parents], symbols, empty[parents])
        likeliest = self._likeliest[texts.first : texts.first + said.shape[1]]
        # A text fits little better than where its last symbol begins best, which takes much less to find out.
        begins = (arrives + said - likeliest).max(axis=1)
        kept = np.nonzero(begins >= worst[parents] - SEVERAL_BEGINNINGS)[0]
        extended = self._go_on(texts.first, arrives[kept], said[kept])
        fits = self.fits(extended)
        well = fits.max(axis=1) >= worst[parents[kept]]
        return kept[well], extended[np.nonzero(well)[0]], fits[well]

    def _arrives(
        self, texts: Forward, parents: np.ndarray, last: np.ndarray, symbols: np.ndarray, empty: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Of each new text: the probabilities that all before its new symbol has been said before each step, and that this is said there."""
        first, end = texts.first, texts.first + texts.on_symbol.shape[-1]
        before = texts.either[parents]
        again = np.nonzero(last == symbols)[0]  # the same symbol again needs a blank between
        before[again] = texts.on_blank[parents[again]]
        said = self.log_probabilities[first:end, symbols].T.astype(float)
        return self._one_later(before, np.where(empty & (first == 0), 0.0, NEVER)), said

    def _go_on(self, first: int, arrives: np.ndarray, said: np.ndarray) -> Forward:
        end = first + said.shape[1]
        so_far = np.cumsum(said, axis=1)
        on_symbol = so_far + np.logaddexp.accumulate(arrives - (so_far - said), axis=1)
        blanks = self._blanks[first:end]
        pauses = self.log_probabilities[first:end, BLANK]
        on_blank = blanks + np.logaddexp.accumulate(
            self._one_later(on_symbol, np.full(len(said), NEVER)) - (blanks - pauses), axis=1
        )
        return Forward(first, on_symbol, on_blank)

    def anything(self, text: Forward, empty: bool, penalty: float) -> Forward:
        """Of one text with something more of which nobody knows how it is said: the likeliest path, and a penalty."""
        first, end = text.first, text.first + len(text.on_symbol)
        likeliest = self._likeliest[first:end]
        before = np.concatenate([[self._likeliest[first - 1] if first else 0.0], likeliest[:-1]])
        arrives = self._one_later(text.either[None], np.array([0.0 if empty and first == 0 else NEVER]))[0]
        on_symbol = likeliest + np.logaddexp.accumulate(arrives - before) + penalty
        return Forward(first, on_symbol, np.full(end - first, NEVER))

    def fits(self, texts: Forward) -> np.ndarray:
        """How well each text fits if it ends at each step: 0 = as well as the likeliest path up to there, `(..., steps)`."""
        return texts.either - self._likeliest[texts.first : texts.first + texts.on_symbol.shape[-1]]

    def fits_whole(self, text: Forward) -> float:
        """How well a text fits the whole clip."""
        return float(self.fits(self.window(text, self.steps - 1, self.steps))[0])

    @staticmethod
    def _one_later(values: np.ndarray, before: np.ndarray) -> np.ndarray:
        return np.concatenate([before[:, None], values[:, :-1]], axis=1)
