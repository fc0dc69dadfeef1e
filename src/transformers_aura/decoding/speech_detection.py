"""Whether anything was said, from the emissions of a character CTC head."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .alphabet import BLANK, GAP


NOTHING_HEARD = "(Nothing was heard.)"
"""The answer to recordings in which nobody speaks."""


def contains_speech(
    log_probabilities: NDArray[np.floating],
    frames_per_second: float = 50.0,
    min_characters: int = 3,
    min_probability: float = 0.9,
    within_seconds: float = 0.25,
) -> bool:
    """Whether somebody speaks in a clip: a few characters in quick succession are sure.

    Sounds that resemble a voice yield characters too: a fan unsure ones, a far call single ones. No level counts, so the answer
    for a loud recording is that for a quiet one. An utterance shorter than `min_characters` is not found.

    Args:
        log_probabilities: natural logarithms, of the emissions of one clip, shape `(frames, 1 + characters)`: the blank is column
            0, the gap between words column 1, see [`~transformers_aura.decoding.alphabet.CharacterAlphabet`]. 0 frames hold no
            speech.
        frames_per_second: rate of the emissions.
        min_characters: so many sure characters are speech.
        min_probability: a character of the best path, its repetitions merged, is sure if one of its frames is this probable.
        within_seconds: from the first of these characters to the last.

    Returns:
        `False`: nothing was said, or nothing that the head understands.

    Raises:
        ValueError: the emissions are no matrix with a blank, a gap and characters.
    """
    if log_probabilities.ndim != 2 or log_probabilities.shape[1] <= GAP + 1:
        raise ValueError(
            "Emissions have the shape (frames, 1 + characters), with the blank and the gap between words first; got "
            f"{log_probabilities.shape}."
        )
    if len(log_probabilities) == 0:
        return False
    symbols = log_probabilities.argmax(axis=1)
    starts = np.flatnonzero(np.diff(symbols, prepend=-1))
    peaks = np.maximum.reduceat(log_probabilities.max(axis=1), starts)
    sure = starts[(symbols[starts] > GAP) & (peaks >= np.log(min_probability))]
    if len(sure) < min_characters:
        return False
    durations = sure[min_characters - 1 :] - sure[: len(sure) - min_characters + 1]
    return bool(durations.min() <= within_seconds * frames_per_second)


def frames_since_speech(path: NDArray[np.integer]) -> int:
    """
    Frames at the end in which no character is said.

    Args:
        path: the likeliest symbol of each frame, `(frames,)`.
    """
    said = np.flatnonzero((path != BLANK) & (path != GAP))
    return len(path) - 1 - int(said[-1]) if len(said) else len(path)
