"""Whether an answer contains an accepted one."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from .interface import Reference, ratio
from .words import Normalizer


# Full stops of titles and initials end no sentence.
_SENTENCE_END = re.compile(r"(?<!\bMr)(?<!\bDr)(?<!\bSt)(?<!\b[A-Z])[.!?](?:\s|$)")


@dataclass(frozen=True)
class Containment:
    """Whether as many accepted answers as are needed stand in the answer, as whole words, articles aside.

    Args:
        first_sentence: only the answer's first sentence counts.
        normalizer: of both sides.
    """

    first_sentence: bool = False
    normalizer: Normalizer = field(default_factory=Normalizer)
    higher_is_better: bool = True
    is_share: bool = True

    @property
    def name(self) -> str:
        """`"contains"` or `"contains_first_sentence"`."""
        return "contains_first_sentence" if self.first_sentence else "contains"

    @property
    def identity(self) -> dict[str, Any]:
        """See [`Scorer`]."""
        return {"scorer": self.name, "version": "1", **self.normalizer.identity}

    def statistics(self, answer: str, reference: Reference) -> tuple[float, ...]:
        """See [`Scorer`]."""
        text = f" {self._plain(first_sentence(answer) if self.first_sentence else answer)} "
        named = sum(
            any((plain := self._plain(reading)) and f" {plain} " in text for reading in readings(accepted))
            for accepted in reference.accepted
        )
        return float(named >= reference.needed), 1.0

    def _plain(self, text: str) -> str:
        return " ".join(word for word in self.normalizer(text).split() if word not in ("a", "an", "the"))

    def value(self, sums: np.ndarray) -> np.ndarray:
        """See [`Scorer`]."""
        return ratio(sums)


@lru_cache
def readings(accepted: str) -> tuple[str, ...]:
    """An accepted answer with and without its parentheses: `"(George) Washington"` may be said as `"Washington"`."""
    without = re.sub(r"\s*\([^)]*\)\s*", " ", accepted)
    return tuple(dict.fromkeys(" ".join(text.split()) for text in (without, re.sub(r"[()]", "", accepted))))


def first_sentence(text: str) -> str:
    """What stands before the first end of a sentence."""
    match = _SENTENCE_END.search(text)
    return text if match is None else text[: match.end()].rstrip()
