"""Where a long recording is cut into chunks: in its longest pauses."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .alphabet import BLANK, GAP
from .ctc import Emissions


LONGEST_WHOLE = 1.5
"""A recording is cut if it is longer than so many of the longest chunks: no cut is the best where nobody pauses."""

SHORTEST_CHUNK = 0.2
"""The shortest chunk of a recording that is cut, to the longest."""


def is_pause(emissions: Emissions) -> NDArray[np.bool_]:
    """Whether no character is the likeliest symbol of a frame, `(frames,)`."""
    likeliest = emissions.argmax(axis=1)
    return (likeliest == BLANK) | (likeliest == GAP)


def cut_at_pauses(pause: NDArray[np.bool_], longest: int) -> list[int]:
    """
    Frames at which a recording is cut, in the middle of pauses, so that its chunks have at most `longest` frames.

    Of the pauses that lie where the next chunk may end, the longest is taken, of several the last; where nobody pauses, the chunk ends at the last such frame.

    Args:
        pause (`(frames,)`): whether nothing is said at each frame.
        longest: frames of a chunk.

    Returns:
        nothing where the recording is not longer than [`LONGEST_WHOLE`] chunks.
    """
    cuts: list[int] = []
    if len(pause) <= LONGEST_WHOLE * longest:
        return cuts
    start, shortest = 0, round(SHORTEST_CHUNK * longest)
    while len(pause) - start > longest:
        first, end = start + shortest, min(start + longest, len(pause) - shortest)
        edges = np.flatnonzero(np.diff(np.concatenate([[0], pause[first:end].astype(np.int8), [0]])))
        begins, ends = edges[::2], edges[1::2]
        if len(begins):
            place = len(begins) - 1 - int((ends - begins)[::-1].argmax())
            start = first + int(begins[place] + ends[place]) // 2
        else:
            start = end
        cuts.append(start)
    return cuts
