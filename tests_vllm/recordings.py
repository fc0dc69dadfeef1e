"""More than fifty recordings that the repository brings: questions, orders of real people, and the beginnings of these."""

from functools import cache

import numpy as np

from benchmarks.recordings import questions_and_orders


BEGINNING_SECONDS = 1.6


@cache
def recordings() -> tuple[np.ndarray, ...]:
    """Clips, float32 `(n_samples,)` at 16 kHz."""
    whole = [recording.waveform for recording in questions_and_orders()]
    return (*whole, *(waveform[: round(BEGINNING_SECONDS * 16_000)] for waveform in whole))
