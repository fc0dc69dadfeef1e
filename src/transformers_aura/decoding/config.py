"""What a search for transcripts weighs, and how far it goes."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any


_KINDS: dict[Any, tuple[str, Any]] = {
    bool: ("True or False", bool),
    int: ("a whole number", numbers.Integral),
    float: ("a number", numbers.Real),
}
_HUGE = 1e6
_LIMITS = {
    **dict.fromkeys(("beam_size", "num_rescored", "chunks_at_once"), (1, _HUGE)),
    **dict.fromkeys(("beam_threshold", "symbol_threshold", "language_model_weight", "other_forms"), (0, _HUGE)),
    "chunk_seconds": (1, 3_600),
}
"""Least and largest values."""


@dataclass(frozen=True)
class DecodingConfig:
    """
    Settings of [`AuraForSpeechQA.transcribe`]; a student's config holds those that differ from these defaults.

    All scores are natural logs of probabilities.

    Args:
        beam_size: hypotheses that go on from each frame.
        beam_threshold: how much worse than the best one a hypothesis may score and go on.
        symbol_threshold: how much less likely than the likeliest symbol of a frame a character may be and go on.
        character_weight, subword_weight, ngram_weight: weights of the character emissions, the subword emissions and the token n-gram (where the
            student's repo holds one).
        word_bonus: added for every word.
        unknown_word_penalty, unknown_character_penalty: subtracted for every word that the lexicon lacks, and for each of its characters.
        other_forms: words of the best hypothesis that are also written in their second likeliest form (`Civil War` for `civil war`), for the base LLM to
            choose: those that lose least by it.
        num_rescored: hypotheses that the base LLM scores.
        language_model_weight: weight of the base LLM's score; 0 = it is not asked.
        rescore_chunks: whether the base LLM also scores the texts of recordings that were cut into chunks, which takes about half as long again.
        chunk_seconds: recordings that last more than one and a half times as long are cut at pauses into chunks that are no longer.
        chunks_at_once: chunks that share one pass.
    """

    beam_size: int = 96
    beam_threshold: float = 20.0
    symbol_threshold: float = 9.0
    character_weight: float = 1.0
    subword_weight: float = 0.5
    ngram_weight: float = 0.35
    word_bonus: float = 0.3
    unknown_word_penalty: float = 9.0
    unknown_character_penalty: float = 2.0
    other_forms: int = 5
    num_rescored: int = 12
    language_model_weight: float = 0.7
    rescore_chunks: bool = False
    chunk_seconds: float = 6.0
    chunks_at_once: int = 4

    def __post_init__(self) -> None:
        for field in fields(self):
            name, value, kind = field.name, getattr(self, field.name), type(field.default)
            expected, types = _KINDS[kind]
            if not isinstance(value, types) or (isinstance(value, bool) and kind is not bool):
                raise TypeError(f"`{name}` must be {expected}, got {value!r}.")
            least, most = _LIMITS.get(name, (-_HUGE, _HUGE))
            if not value >= least:  # NaN is not
                raise ValueError(f"`{name}` must be {least:g} or more, got {value!r}.")
            if value > most:
                raise ValueError(f"`{name}` must be {most:g} or less, got {value!r}.")
            object.__setattr__(self, name, kind(value))  # type: ignore[misc]

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any] | None, **changes: Any) -> DecodingConfig:
        """
        The defaults with some settings changed.

        Args:
            settings: by name, as a student's config holds them.
            changes: by name, of one call; `None` changes nothing.

        Raises:
            TypeError: a value of a wrong type.
            ValueError: there is no such setting, or its value is NaN, infinite or out of range.
        """
        given = {**(settings or {}), **{name: value for name, value in changes.items() if value is not None}}
        known = [field.name for field in fields(cls)]
        unknown = sorted(set(given) - set(known))
        if unknown:
            raise ValueError(f"Decoding has no setting {', '.join(map(repr, unknown))}; it has {', '.join(known)}.")
        return cls(**given)

    def to_dict(self) -> dict[str, Any]:
        """The settings that differ from the defaults."""
        defaults = asdict(type(self)())
        return {name: value for name, value in asdict(self).items() if value != defaults[name]}
