"""Answers many inputs: read ahead, in batches of about the same length, one row an input whatever becomes of it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import typer
from numpy.typing import NDArray

from ...processing.audio_loading import load_audio
from ...processing.mixing import SAMPLING_RATE
from ..console import print_error, print_status, progress_bar
from .inputs import Inputs
from .outputs import Output, PrintedRows
from .sources import BatchInput


BATCHES_IN_WINDOW = 8
WINDOW_SECONDS = 3600.0
"""A window is sorted by length. It holds so many batches, or recordings of so many seconds in all."""

SECONDS_OF_ROW = 30.0
"""Of longer recordings there are fewer in a batch: as many seconds, padding included, as of full batches of this length."""

FAILURES_IN_A_ROW = 8
"""Where the first so many all fail for the same reason, it is that of the run."""


@dataclass(frozen=True)
class Request:
    """
    An input that could be read.

    Attributes:
        position: of the input among those that were not done.
        input: what it is.
        waveform: `(samples,)`, float32, 16 kHz.
    """

    position: int
    input: BatchInput
    waveform: NDArray[np.float32] = field(repr=False)

    @property
    def seconds(self) -> float:
        """Length of the recording."""
        return len(self.waveform) / SAMPLING_RATE

    @property
    def audio(self) -> dict[str, Any]:
        """The recording as pipelines and processors take it."""
        return {"array": self.waveform, "sampling_rate": SAMPLING_RATE}


Answer = Callable[[Sequence[Request]], Sequence[dict[str, Any]]]
"""What an engine is here: requests to what came out for each, in their order."""


Failures = list[tuple[str, str]]
"""Name and reason of each input that failed."""


def run_batch(
    inputs: Inputs, output: AbstractContextManager[Output], load: Callable[[], Answer], batch_size: int
) -> None:
    """
    As [`answer_inputs`], as a command: with a progress bar, and with what failed on standard error at the end.

    Args:
        output: entered for the run.
        load: makes the engine; it is not called where everything is done.

    Raises:
        typer.Exit: with status 1, where any input failed.
    """
    with output as rows:
        num_left = sum(name not in rows.done for name in inputs.names)
        if rows.done:
            print_status(f"{len(inputs) - num_left} of {len(inputs)} recordings are done already.")
        failed: Failures = []
        if num_left:
            answer = load()
            is_shown = not (isinstance(rows, PrintedRows) and sys.stdout.isatty())  # two on one terminal
            with progress_bar(num_left, is_shown) as on_row:
                failed = answer_inputs(inputs, rows, answer, batch_size, on_row)
    if failed:
        print_error(f"{len(failed)} of {len(inputs)} recordings failed:")
        for name, reason in failed:
            print_status(f"  {name}: {reason}")
        raise typer.Exit(1)


def answer_inputs(
    inputs: Inputs, output: Output, answer: Answer, batch_size: int, on_row: Callable[[str], None] = lambda name: None
) -> Failures:
    """
    Answer what is not done yet, and put a row for each input into the output.

    Args:
        inputs: all inputs of the run.
        output: where rows go.
        answer: the engine. A batch that it refuses is halved, to find out which requests it refuses.
        batch_size: most requests at once.
        on_row: called once a row with the input's name.

    Returns:
        `list[tuple[str, str]]`: see [`Failures`].

    Raises:
        RuntimeError: the engine refused each of the first requests for the same reason.
    """
    failed: Failures = []
    refused: list[str] = []
    is_any_answered = False

    def keep(position: int, input_: BatchInput, found: dict[str, Any]) -> None:
        output.add(position, {"name": input_.name, "audio": input_.place, **found})
        if "error" in found:
            failed.append((input_.name, found["error"]))
        on_row(input_.name)

    for window in _read_ahead(_windows(enumerate(inputs.without(output.done)), batch_size)):
        for position, input_, reason in window.unreadable:
            keep(position, input_, {"error": reason})
        for batch in batches_of(window.requests, batch_size):
            for request, found in zip(batch, _answers(answer, batch), strict=True):
                keep(request.position, request.input, found)
                is_any_answered = is_any_answered or "error" not in found
                if "error" in found:
                    refused.append(found["error"])
            if not is_any_answered and len(refused) >= FAILURES_IN_A_ROW and len(set(refused)) == 1:
                raise RuntimeError(f"All of the first {len(refused)} recordings failed: {refused[0]}")
    return failed


def batches_of(requests: Sequence[Request], batch_size: int) -> Iterator[list[Request]]:
    """Requests of about the same length, the shorter first."""
    batch: list[Request] = []
    for request in sorted(requests, key=lambda request: len(request.waveform)):
        is_too_long = (len(batch) + 1) * request.seconds > batch_size * SECONDS_OF_ROW
        if batch and (len(batch) == batch_size or is_too_long):
            yield batch
            batch = []
        batch.append(request)
    if batch:
        yield batch


@dataclass(frozen=True)
class _Window:
    """Inputs that are in memory at once: those that could be read, and the others with the reason."""

    requests: list[Request] = field(default_factory=list)
    unreadable: list[tuple[int, BatchInput, str]] = field(default_factory=list)


def _windows(inputs: Iterable[tuple[int, BatchInput]], batch_size: int) -> Iterator[_Window]:
    window, seconds = _Window(), 0.0
    for position, input_ in inputs:
        try:
            if input_.problem is not None:
                raise ValueError(input_.problem)
            request = Request(position, input_, load_audio(input_.audio))
            window.requests.append(request)
            seconds += request.seconds
        except (ValueError, OSError) as error:  # an `AudioLoadingError` is a `ValueError`
            window.unreadable.append((position, input_, str(error)))
        num_inputs = len(window.requests) + len(window.unreadable)
        if num_inputs >= BATCHES_IN_WINDOW * batch_size or seconds >= WINDOW_SECONDS:
            yield window
            window, seconds = _Window(), 0.0
    yield window


def _read_ahead(windows: Iterator[_Window]) -> Iterator[_Window]:
    """The next window is read while one is answered."""
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(lambda: list(islice(windows, 1)))
        while window := coming.result():
            coming = pool.submit(lambda: list(islice(windows, 1)))
            yield from window


def _answers(answer: Answer, batch: Sequence[Request]) -> list[dict[str, Any]]:
    """What came out for each, or why nothing did."""
    try:
        return list(answer(batch))
    except (ValueError, RuntimeError, LookupError, TypeError, OSError) as error:
        if len(batch) == 1:
            return [{"error": str(error) or type(error).__name__}]
    middle = len(batch) // 2  # behind the `except`, which holds what the batch left in memory
    return _answers(answer, batch[:middle]) + _answers(answer, batch[middle:])
