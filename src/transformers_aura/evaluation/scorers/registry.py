"""Scorers by their names."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable

from .bleu import Bleu
from .containment import Containment
from .interface import Scorer
from .slots import SlotAcceptance
from .squad import SquadExactMatch, SquadF1
from .words import Normalizer, WordErrorRate


_SCORERS: dict[str, Callable[[], Scorer]] = {
    "exact_match": SquadExactMatch,
    "squad_f1": SquadF1,
    "contains": Containment,
    "contains_first_sentence": lambda: Containment(first_sentence=True),
    "wer": WordErrorRate,
    "cer": lambda: WordErrorRate(by_character=True),
    "bleu": Bleu,
    "slots": SlotAcceptance,
    "slots_strict": lambda: SlotAcceptance(strict=True),
}

SCORERS = tuple(_SCORERS)
"""Names of all scorers that need nothing else to be set."""


def scorer(name: str, language: str | None = "en") -> Scorer:
    """The scorer of a name.

    Args:
        name: one of [`SCORERS`].
        language: of the texts, for the scorers that normalise them as Whisper does: `"en"` gets the English rules, any other the basic ones. `None`: those of
            no language.

    Returns:
        the scorer, with its default settings.

    Raises:
        ValueError: there is none.

    Example:
        >>> from transformers_aura.evaluation.scorers import Reference
        >>> scorer("squad_f1").statistics("a small latte", Reference(("latte",)))
        (0.6666666666666666, 1.0)
    """
    if name not in _SCORERS:
        close = difflib.get_close_matches(name, SCORERS, n=1)
        suggestion = f" Did you mean '{close[0]}'?" if close else ""
        raise ValueError(f"There is no scorer '{name}'.{suggestion} There are {', '.join(SCORERS)}.")
    found = _SCORERS[name]()
    if not dataclasses.is_dataclass(found) or "normalizer" not in {each.name for each in dataclasses.fields(found)}:
        return found
    return dataclasses.replace(found, normalizer=Normalizer(language or ""))
