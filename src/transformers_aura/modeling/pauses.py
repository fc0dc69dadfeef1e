"""Where a long recording is cut into pieces that are transcribed one by one: in its longest pauses."""

from __future__ import annotations

import numpy as np

from .ctc_forward import BLANK
from .spelling import GAP


def is_pause(letters: np.ndarray) -> np.ndarray:
    """Of each step, whether no letter is the likeliest there.

    Args:
        letters: log-probabilities of the blank and every letter, `(steps, 1 + letters)`.
    """
    likeliest = letters.argmax(axis=1)
    return (likeliest == BLANK) | (likeliest == GAP)


def cuts_at_pauses(pause: np.ndarray, shortest: int, longest: int) -> list[int]:
    """Steps at which a recording is cut, in the middle of pauses, so that its pieces are at most `longest`.

    Of the pauses that lie where the next piece may end, the longest is taken; where nobody pauses, the piece ends at the last such step.

    Args:
        pause: of each step, whether nothing is said there.
        shortest, longest: steps of a piece; `2 * shortest` may not be more than `longest`.
    """
    cuts: list[int] = []
    start = 0
    while len(pause) - start > longest:
        first, end = start + shortest, min(start + longest, len(pause) - shortest)
        edges = np.flatnonzero(np.diff(np.concatenate([[0], pause[first:end].astype(np.int8), [0]])))
        begins, ends = edges[::2], edges[1::2]
        if len(begins):
            # Of pauses of one length, the last.
            place = len(begins) - 1 - int((ends - begins)[::-1].argmax())
            start = first + int(begins[place] + ends[place]) // 2
        else:
            start = end
        cuts.append(start)
    return cuts
