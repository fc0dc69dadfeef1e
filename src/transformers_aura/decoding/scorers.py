"""What a beam search asks of the tokens of a hypothesis: scorers, whose scores are weighed and added (shallow fusion)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .ctc import Emissions, Prefix, PrefixForward
from .ngram import TokenTrigram


LEAST_SCORE = -1000.0
"""Score of tokens that cannot be told apart from what cannot be, such as more tokens than frames: finite, so that what else speaks for a text still counts."""


class TokenScorer(Protocol):
    """Scores hypotheses token by token; what it must remember of one is a state of its own choice."""

    def start(self) -> Any:
        """The state of the empty hypothesis."""

    def extend(self, states: Sequence[Any], tokens: NDArray[np.int64]) -> tuple[NDArray[np.floating], list[Any]]:
        """What one token more adds to the score of each of some hypotheses, `(n,)`, and their new states."""

    def finish(self, states: Sequence[Any]) -> NDArray[np.floating]:
        """What the end of the text adds to each, `(n,)`."""


class NGramScorer:
    """
    Scores by a token n-gram.

    Args:
        ngram: counted on text.
        end: id of the token that ends a text.
    """

    def __init__(self, ngram: TokenTrigram, end: int) -> None:
        self._ngram = ngram
        self._end = end

    def start(self) -> tuple[int, int]:
        """See [`TokenScorer`]. The state holds the last two tokens."""
        return self._end, self._end

    def extend(
        self, states: Sequence[tuple[int, int]], tokens: NDArray[np.int64]
    ) -> tuple[NDArray[np.floating], list[tuple[int, int]]]:
        """See [`TokenScorer`]."""
        before, last = np.array(states, dtype=np.int64).T
        return self._ngram.log_probabilities(before, last, tokens), list(
            zip(last.tolist(), tokens.tolist(), strict=True)
        )

    def finish(self, states: Sequence[tuple[int, int]]) -> NDArray[np.floating]:
        """See [`TokenScorer`]."""
        return self.extend(states, np.full(len(states), self._end))[0]


class SubwordCTCScorer:
    """
    Scores by the emissions of a subword CTC head.

    Args:
        emissions: of the blank (column 0) and of every token (its id + 1), `(frames, 1 + vocabulary)`.
    """

    def __init__(self, emissions: Emissions) -> None:
        self._forward = PrefixForward(emissions)

    def start(self) -> Prefix:
        """See [`TokenScorer`]."""
        return self._forward.empty()

    def extend(self, states: Sequence[Prefix], tokens: NDArray[np.int64]) -> tuple[NDArray[np.floating], list[Prefix]]:
        """See [`TokenScorer`]."""
        extended = self._forward.extend(states, tokens + 1)
        return self._scores(extended) - self._scores(states), extended

    def finish(self, states: Sequence[Prefix]) -> NDArray[np.floating]:
        """See [`TokenScorer`]. Now the whole recording is to be explained."""
        whole = np.array([self._forward.score_whole(state) for state in states])
        return np.maximum(whole, LEAST_SCORE) - self._scores(states)

    @staticmethod
    def _scores(states: Sequence[Prefix]) -> NDArray[np.float64]:
        return np.maximum([state.score for state in states], LEAST_SCORE)
