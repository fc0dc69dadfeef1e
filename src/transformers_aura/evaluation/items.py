"""What a system is asked, and what is true of it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Literal


Task = Literal["answer", "transcript", "translation", "slots"]
"""What is wanted: an answer to a question, what was said, what was said in another language, or the slots of an order as JSON."""

LENGTH_BINS_SECONDS = (2.0, 5.0, 10.0, 20.0, 30.0)


@dataclass(frozen=True)
class Item:
    """One thing to ask.

    Attributes:
        name: unique within its benchmark.
        task: what is wanted.
        audio: what `load_audio` takes: a path, encoded bytes, or `{"array", "sampling_rate"}`.
        question: what is asked in writing; `None` = the recording is the question, or, for a transcript, each system has words of its own.
        accepted: accepted answers; or the one transcript, translation or JSON object of slots.
        text: what is said, `None` where it is not known.
        context: text that the answer may rest on, put before the recording.
        needed: how many of the accepted answers an answer must name (`"Name three."`).
        groups: what it is counted with: `{"accent": "aus"}`.
        source: items of one source are not independent of each other; the name without this.
        seconds: length of the recording, `None` where it is not known before it is read.
    """

    name: str
    task: Task
    audio: Any = field(repr=False)
    accepted: tuple[str, ...]
    question: str | None = None
    text: str | None = None
    context: str | None = None
    needed: int = 1
    groups: dict[str, str] = field(default_factory=dict)
    source: str = ""
    seconds: float | None = None

    def __post_init__(self) -> None:
        if not self.accepted:
            raise ValueError(f"Item {self.name!r} has no accepted answer, so nothing could be right.")
        if not 1 <= self.needed <= len(self.accepted):
            raise ValueError(
                f"Item {self.name!r}: {self.needed} of {len(self.accepted)} accepted answers cannot be asked for."
            )

    @property
    def cluster(self) -> str:
        """Items with the same one are not independent of each other."""
        return self.source or self.name


def length_group(seconds: float) -> str:
    """The group of a recording's length: `"length=2-5 s"`."""
    low = 0.0
    for high in LENGTH_BINS_SECONDS:
        if seconds < high:
            return f"length={low:g}-{high:g} s"
        low = high
    return f"length={low:g} s or more"


def shortest_seconds(group: str) -> float:
    """Where a group of length begins; -1 of any other group."""
    found = re.match(r"length=(\d+)", group)
    return -1.0 if found is None else float(found[1])
