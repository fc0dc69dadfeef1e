"""Scorers by their names."""

from __future__ import annotations

import difflib
from collections.abc import Callable

from .bleu import Bleu
from .containment import Containment
from .interface import Scorer
from .slots import SlotAcceptance
from .squad import SquadExactMatch, SquadF1
from .words import WordErrorRate


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


def scorer(name: str) -> Scorer:
    """The scorer of a name.

    Raises:
        ValueError: there is none.
    """
    if name not in _SCORERS:
        close = difflib.get_close_matches(name, SCORERS, n=1)
        suggestion = f" Did you mean '{close[0]}'?" if close else ""
        raise ValueError(f"There is no scorer '{name}'.{suggestion} There are {', '.join(SCORERS)}.")
    return _SCORERS[name]()
