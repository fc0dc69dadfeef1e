"""Scorers, each with name, version and arguments in the result file."""

from .bleu import Bleu
from .containment import Containment
from .interface import Reference, Scorer
from .judge import JudgeScorer
from .pedant import Pedant
from .registry import SCORERS, scorer
from .slots import SlotAcceptance
from .squad import SquadExactMatch, SquadF1
from .words import Normalizer, WordErrorRate


__all__ = [
    "SCORERS",
    "Bleu",
    "Containment",
    "JudgeScorer",
    "Normalizer",
    "Pedant",
    "Reference",
    "Scorer",
    "SlotAcceptance",
    "SquadExactMatch",
    "SquadF1",
    "WordErrorRate",
    "scorer",
]
