"""A system is asked the items of a benchmark under a condition; what it answered already is not asked again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

from ..processing.audio_loading import load_audio
from ..processing.mixing import SAMPLING_RATE
from .conditions import Condition
from .generations import Generation, GenerationFile, input_hash
from .items import Item
from .systems.interface import Answer, Request, System


BATCHES_IN_MEMORY = 8
"""So many batches are read at a time, to be sorted by length."""


FIRST_REASONS = 3


class EvaluationError(RuntimeError):
    """Nothing at all was answered, or could be read: that is a fault of the set-up, not a score of 0."""


def can_be_asked(system: System, items: Sequence[Item]) -> bool:
    """Whether the system takes such items: one that works on text needs the gold transcript."""
    return all(item.task in system.tasks and not (system.needs_text and item.text is None) for item in items)


def ask(
    system: System,
    items: Sequence[Item],
    condition: Condition,
    path: Path,
    batch_size: int = 16,
    on_answer: Callable[[], None] = lambda: None,
) -> dict[str, Generation]:
    """All answers of a system, by the items' names; each is in `path` before the next batch begins.

    Where a recording cannot be read, or the system fails on it, the generation says why in `error`; such items are tried again in the next run.

    Args:
        system: whom to ask.
        items: of one benchmark.
        condition: how the recordings are changed before the system gets them.
        path: the JSONL file of its generations.
        batch_size: requests at once.
        on_answer: called once an item.

    Raises:
        EvaluationError: no recording could be read, or the system failed on every item whose recording could.
    """
    file = GenerationFile(path)
    by_name = {item.name: item for item in items}
    recording_of = condition.recording_of(list(by_name))
    found: dict[str, Generation] = {}
    num_asked = 0
    last_error: str | None = None
    for start in range(0, len(items), BATCHES_IN_MEMORY * batch_size):
        todo: list[tuple[Item, Request, str]] = []
        for item in items[start : start + BATCHES_IN_MEMORY * batch_size]:
            source = by_name[recording_of[item.name]]
            try:
                waveform = condition.apply(load_audio(source.audio), item.name)
            except (ValueError, OSError) as error:  # an `AudioLoadingError` is a `ValueError`
                found[item.name] = Generation(item.name, "", "", error=f"the recording cannot be read: {error}")
                file.append(found[item.name])
                on_answer()
                continue
            context = condition.context(item.context)
            text = source.text if system.needs_text else None
            input_ = input_hash(waveform, item.task, item.question, context, text)
            known = file.find(item.name, input_)
            if known is not None:
                found[item.name] = known
                on_answer()
            else:
                todo.append((item, Request(waveform, item.task, item.question, context, text), input_))
        for batch in _batches(todo, batch_size):
            for (item, request, input_), (answer, failure) in zip(batch, _answers(system, batch), strict=True):
                seconds = len(request.waveform) / SAMPLING_RATE
                found[item.name] = Generation(
                    item.name, input_, answer.text, round(seconds, 3), answer.confidence, failure
                )
                file.append(found[item.name])
                on_answer()
                num_asked += 1
                last_error = failure or last_error
        failed = sum(1 for generation in found.values() if generation.error is not None and generation.input)
        if num_asked and failed == num_asked == sum(1 for generation in found.values() if generation.input):
            raise EvaluationError(
                f"{system.name} failed on all of the first {num_asked} items. The last error: {last_error}"
            )
    if not any(generation.input for generation in found.values()):
        reasons = "; ".join(f"{name}: {generation.error}" for name, generation in list(found.items())[:FIRST_REASONS])
        raise EvaluationError(f"None of the {len(found)} recordings can be read. {reasons}")
    return {item.name: found[item.name] for item in items}


def _batches(todo: list[tuple[Item, Request, str]], batch_size: int) -> Iterator[list[tuple[Item, Request, str]]]:
    """Requests of one question, of about the same length."""

    def question(entry: tuple[Item, Request, str]) -> str:
        return entry[1].question or ""

    todo.sort(key=lambda entry: (question(entry), len(entry[1].waveform)))
    for _, group in groupby(todo, key=question):
        entries = list(group)
        for start in range(0, len(entries), batch_size):
            yield entries[start : start + batch_size]


def _answers(system: System, batch: Sequence[tuple[Item, Request, str]]) -> list[tuple[Answer, str | None]]:
    """`(answer, error)` of each; where a batch fails, its requests are asked one by one, to find out which of them it was."""
    try:
        return [(answer, None) for answer in system.answer([request for _, request, _ in batch])]
    except (ValueError, RuntimeError, IndexError, KeyError, TypeError) as error:
        if len(batch) == 1:
            return [(Answer(""), f"{type(error).__name__}: {error}")]
        return [pair for entry in batch for pair in _answers(system, [entry])]
