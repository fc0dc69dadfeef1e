"""What every system gets and gives: recordings and questions in, texts out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ..items import Task


MAX_NEW_TOKENS: dict[Task, int] = {"answer": 48, "transcript": 192, "translation": 192, "slots": 128}
"""Length limit of a generation, the same for all systems."""


@dataclass(frozen=True)
class Request:
    """One thing to answer.

    Attributes:
        waveform: float32 `(n_samples,)` at 16 kHz.
        task: what is wanted; all requests of a call want the same.
        question: what is asked in writing; `None` = the recording is the question, or, for a transcript, the system has words of its own. The same for all
            requests of a call.
        context: text that the answer may rest on.
        text: the gold transcript, which only a system that works on text may use.
    """

    waveform: np.ndarray
    task: Task
    question: str | None = None
    context: str | None = None
    text: str | None = None


@dataclass(frozen=True)
class Answer:
    """What a system says.

    Attributes:
        text: the answer.
        confidence: how sure the model is of it, from 0 to 1: the geometric mean of its tokens' probabilities; `None` where it is not known.
    """

    text: str
    confidence: float | None = None


class System(Protocol):
    """Answers requests, greedily.

    Attributes:
        name: its row in every table.
        tasks: what it can be asked for.
        needs_text: whether it gets the gold transcript in the place of the recording.
    """

    @property
    def name(self) -> str: ...

    @property
    def tasks(self) -> frozenset[Task]: ...

    @property
    def needs_text(self) -> bool: ...

    @property
    def identity(self) -> dict[str, Any]:
        """All that its answers depend on, for the result file and to know whether earlier answers still hold."""
        ...

    def answer(self, requests: Sequence[Request]) -> list[Answer]:
        """Answers to requests, which run as one batch.

        Args:
            requests: that want the same.

        Returns:
            one answer a request, in their order.
        """
        ...


ALL_TASKS: frozenset[Task] = frozenset(["answer", "transcript", "translation", "slots"])


def shared(requests: Sequence[Request]) -> tuple[Task, str | None]:
    """What all of `requests` want and ask; an answer must not depend on what else is in its batch.

    Raises:
        ValueError: they ask different things.
    """
    asked = {(request.task, request.question) for request in requests}
    if len(asked) != 1:
        raise ValueError(f"The requests of a batch ask one thing, got {len(asked)}: {asked}.")
    return asked.pop()
