"""Word and character error rates, by jiwer, after Whisper's normalisation."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from typing import Any

import numpy as np

from ...extras import import_extra
from .interface import Reference, ratio


@dataclass(frozen=True)
class Normalizer:
    """Whisper's text normaliser: case, punctuation and, for English, numbers and contractions.

    Args:
        language: `"en"` gets the English rules, any other the basic ones.
        spellings: British to American spellings, as `normalizer.json` of a Whisper model has them.

    Example:
        >>> Normalizer()("Twenty-one lattes, please!")
        '21 lattes please'
    """

    language: str = "en"
    spellings: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def _rules(self) -> Any:
        from transformers.models.whisper.english_normalizer import BasicTextNormalizer, EnglishTextNormalizer

        return EnglishTextNormalizer(dict(self.spellings)) if self.is_english else BasicTextNormalizer()

    @property
    def identity(self) -> dict[str, Any]:
        """Which rules, of which release."""
        rules = "English" if self.is_english else "basic"
        found: dict[str, Any] = {"normalizer": f"Whisper {rules}", "transformers": version("transformers")}
        if self.spellings:
            found["spellings"] = hashlib.sha256(json.dumps(sorted(self.spellings.items())).encode()).hexdigest()
        return found

    @property
    def is_english(self) -> bool:
        """Whether the English rules apply, whichever country's."""
        return self.language.lower().split("-")[0] == "en"

    def __call__(self, text: str) -> str:
        """A text by the rules.

        Args:
            text: any.

        Returns:
            the text in lower case, on one line, without punctuation.
        """
        return self._rules(text).strip()


def _jiwer() -> Any:
    return import_extra("jiwer", "evaluation", "Counting word errors")


def _joined(text: str) -> str:
    """The text on one line: jiwer divides words at blanks alone."""
    return " ".join(text.split())


@dataclass(frozen=True)
class WordErrorRate:
    """Substituted, deleted and inserted words to true words. Of several accepted transcripts the nearest counts.

    Args:
        normalizer: `None` = the texts are compared as they are.
        by_character: count characters in place of words.

    Example:
        >>> WordErrorRate().statistics("a small latte", Reference(("a small mocha",)))  # one error in three words
        (1.0, 3.0)
    """

    normalizer: Normalizer | None = field(default_factory=Normalizer)
    by_character: bool = False
    higher_is_better: bool = False
    is_share: bool = True

    @property
    def name(self) -> str:
        """`"wer"` or `"cer"`."""
        return "cer" if self.by_character else "wer"

    @property
    def identity(self) -> dict[str, Any]:
        """See [`Scorer`]."""
        _jiwer()  # without it there is no version either
        rules = {"normalizer": None} if self.normalizer is None else self.normalizer.identity
        return {"scorer": self.name, "version": "1", "jiwer": version("jiwer"), **rules}

    def statistics(self, answer: str, reference: Reference) -> tuple[float, ...]:
        """`(errors, true words or characters)`; see [`Scorer`].

        Raises:
            MissingExtraError: jiwer is not installed.
        """
        normalize = self.normalizer or _joined
        answered = normalize(answer)
        counts = [self._count(normalize(accepted), answered) for accepted in reference.accepted]
        return min(counts, key=lambda count: count[0] / max(count[1], 1.0))

    def _count(self, true: str, answered: str) -> tuple[float, float]:
        jiwer = _jiwer()
        units = len(answered) if self.by_character else len(answered.split())
        if not true:  # nothing was said: jiwer takes no empty reference
            return float(units), 0.0
        output = jiwer.process_characters(true, answered) if self.by_character else jiwer.process_words(true, answered)
        errors = output.substitutions + output.deletions + output.insertions
        return float(errors), float(output.hits + output.substitutions + output.deletions)

    def value(self, sums: np.ndarray) -> np.ndarray:
        """See [`Scorer`]; of an item without true words 0 if nothing was answered, else 1."""
        sums = np.asarray(sums, dtype=np.float64)
        return np.where(sums[..., 1] > 0, ratio(sums), (sums[..., 0] > 0).astype(np.float64))
