"""Whether an answer contains an accepted one."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from .interface import Reference, ratio
from .words import Normalizer


# A full stop of a title or an initial ends no sentence; a quotation mark may stand behind one that does.
_SENTENCE_END = re.compile(r"(?<!\bMr)(?<!\bDr)(?<!\bSt)(?<!\bMrs)(?<!\bGen)(?<!\b[A-Z])[.!?][\"'”’)]*(?=\s|$)|\n")
_ENUMERATION = re.compile(r"\s*\d+[.)]\s+")


@dataclass(frozen=True)
class Containment:
    """Whether as many accepted answers as are needed stand in the answer, as whole words, articles aside.

    Args:
        first_sentence: only the answer's first sentence counts.
        normalizer: of both sides.

    Example:
        >>> Containment().statistics("It is Paris, of course.", Reference(("Paris",)))
        (1.0, 1.0)
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
        counted = first_sentence(answer) if self.first_sentence else answer
        text = f" {self._plain(re.sub(r'[()]', ' ', counted))} "
        named = set()  # an answer that is accepted in two spellings is named once
        for accepted in reference.accepted:
            plain = [form for reading in readings(accepted) if (form := self._plain(reading))]
            if any(f" {form} " in text for form in plain):
                named.add(plain[0])
        return float(len(named) >= reference.needed), 1.0

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
    """What stands before the first end of a sentence or of a line; the number of a list is left out."""
    text = text.strip()
    numbered = _ENUMERATION.match(text)
    text = text if numbered is None else text[numbered.end() :]
    match = _SENTENCE_END.search(text)
    return text if match is None else text[: match.end()].rstrip()
