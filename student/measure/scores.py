"""When an answer is right: orders by their slots, questions by what the answer contains, transcripts by their word errors."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from transformers.models.whisper.english_normalizer import EnglishTextNormalizer


SPELLING_FILE = "normalizer.json"


@dataclass(frozen=True)
class OrderScore:
    """Of one order: is every labelled slot right (`labelled`), and nothing else answered (`strict`)?"""

    labelled: bool
    strict: bool


class Normalizer:
    """Whisper's English text normaliser: case, punctuation, numbers, contractions; British spellings only where a mapping is at hand.

    Attributes:
        description: which rules were used, for the report.
    """

    def __init__(self, whisper: Path | None = None) -> None:
        """`whisper`: a Whisper model's folder, whose `normalizer.json` maps British to American spellings if it has one."""
        path = whisper / SPELLING_FILE if whisper is not None else None
        has_spellings = path is not None and path.is_file()
        self._normalize = EnglishTextNormalizer(json.loads(path.read_text()) if path and has_spellings else {})
        spellings = f"the spellings of the Whisper model's {SPELLING_FILE}" if has_spellings else "no spelling mapping"
        self.description = f"transformers {version('transformers')} EnglishTextNormalizer, {spellings}"

    def __call__(self, text: str) -> str:
        return self._normalize(text).strip()


def score_order(answer: str, slots: dict[str, str]) -> OrderScore:
    """Compares an answer with an order's true `slots`, values after stripping blanks; what is not one JSON object is wrong."""
    try:
        found: Any = json.loads(answer)
    except json.JSONDecodeError:
        return OrderScore(labelled=False, strict=False)
    if not isinstance(found, dict):
        return OrderScore(labelled=False, strict=False)
    labelled = all(str(found.get(key, "")).strip() == value.strip() for key, value in slots.items())
    return OrderScore(labelled, strict=labelled and set(found) == set(slots))


def contains_answer(answer: str, accepted: Sequence[str], needed: int, normalizer: Normalizer) -> bool:
    """Whether at least `needed` of the `accepted` answers stand in `answer`, as whole words, after normalisation and without articles."""
    text = f" {_without_articles(normalizer(answer))} "
    return sum(_contains(text, alternative, normalizer) for alternative in accepted) >= needed


def _contains(padded_text: str, accepted: str, normalizer: Normalizer) -> bool:
    variants = (_without_articles(normalizer(variant)) for variant in readings(accepted))
    return any(variant and f" {variant} " in padded_text for variant in variants)


@lru_cache
def readings(accepted: str) -> tuple[str, ...]:
    """An accepted answer with and without its parentheses: `"(George) Washington"` may be said as `"Washington"`."""
    without = re.sub(r"\s*\([^)]*\)\s*", " ", accepted)
    return tuple(dict.fromkeys(re.sub(r"\s+", " ", text).strip() for text in (without, re.sub(r"[()]", "", accepted))))


def _without_articles(text: str) -> str:
    return " ".join(word for word in text.split() if word not in ("a", "an", "the"))


def word_errors(answer: str, transcript: str, normalizer: Normalizer) -> tuple[int, int]:
    """Substitutions, deletions and insertions that turn the true `transcript` into `answer`, and the true words, both normalised.

    Raises:
        ImportError: jiwer is not installed.
    """
    try:
        import jiwer
    except ImportError as error:
        raise ImportError("Word errors are counted with jiwer. Run: pip install 'jiwer>=4.0'") from error
    output = jiwer.process_words(normalizer(transcript), normalizer(answer))
    return (
        output.substitutions + output.deletions + output.insertions,
        output.hits + output.substitutions + output.deletions,
    )


def scorer_versions(normalizer: Normalizer) -> dict[str, str]:
    """What the scores depend on, for the report."""
    return {"jiwer": version("jiwer"), "normalizer": normalizer.description}
