"""Exact match and F1 of the official SQuAD 1.1 evaluation script (Rajpurkar et al. 2016)."""

from __future__ import annotations

import re
import string
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from .interface import Reference, ratio


def normalize_answer(text: str) -> str:
    """Lower case, without punctuation, articles and superfluous blanks, in the official script's order."""
    text = "".join(character for character in text.lower() if character not in set(string.punctuation))
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def f1(answer: str, accepted: str) -> float:
    """Harmonic mean of precision and recall over tokens."""
    found, true = normalize_answer(answer).split(), normalize_answer(accepted).split()
    num_same = sum((Counter(found) & Counter(true)).values())
    if num_same == 0:
        return 0.0
    precision, recall = num_same / len(found), num_same / len(true)
    return 2 * precision * recall / (precision + recall)


@dataclass(frozen=True)
class SquadExactMatch:
    """Whether the answer is an accepted one, after normalisation.

    Example:
        >>> SquadExactMatch().statistics("The Paris.", Reference(("Paris",)))
        (1.0, 1.0)
    """

    name: str = "exact_match"
    higher_is_better: bool = True
    is_share: bool = True

    @property
    def identity(self) -> dict[str, Any]:
        """See [`Scorer`]."""
        return {"scorer": "SQuAD 1.1 exact match", "version": "1"}

    def statistics(self, answer: str, reference: Reference) -> tuple[float, ...]:
        """See [`Scorer`]."""
        found = normalize_answer(answer)
        return float(any(found == normalize_answer(accepted) for accepted in reference.accepted)), 1.0

    def value(self, sums: np.ndarray) -> np.ndarray:
        """See [`Scorer`]."""
        return ratio(sums)


@dataclass(frozen=True)
class SquadF1:
    """Token F1 with the nearest accepted answer.

    Example:
        >>> SquadF1().statistics("large mocha", Reference(("mocha", "large mocha")))
        (1.0, 1.0)
    """

    name: str = "squad_f1"
    higher_is_better: bool = True
    is_share: bool = True

    @property
    def identity(self) -> dict[str, Any]:
        """See [`Scorer`]."""
        return {"scorer": "SQuAD 1.1 F1", "version": "1"}

    def statistics(self, answer: str, reference: Reference) -> tuple[float, ...]:
        """See [`Scorer`]."""
        return max(f1(answer, accepted) for accepted in reference.accepted), 1.0

    def value(self, sums: np.ndarray) -> np.ndarray:
        """See [`Scorer`]."""
        return ratio(sums)
