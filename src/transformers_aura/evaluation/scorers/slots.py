"""Whether an order was understood: the slots of one JSON object."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from .interface import Reference, ratio


@dataclass(frozen=True)
class SlotAcceptance:
    """Whether every labelled slot is right, values compared after stripping blanks. What is not one JSON object is wrong.

    Args:
        strict: and nothing else is answered.

    Example:
        >>> SlotAcceptance().statistics('{"size": "small", "more": 1}', Reference(('{"size": "small"}',)))
        (1.0, 1.0)
        >>> SlotAcceptance(strict=True).statistics('{"size": "small", "more": 1}', Reference(('{"size": "small"}',)))
        (0.0, 1.0)
    """

    strict: bool = False
    higher_is_better: bool = True
    is_share: bool = True

    @property
    def name(self) -> str:
        """`"slots"` or `"slots_strict"`."""
        return "slots_strict" if self.strict else "slots"

    @property
    def identity(self) -> dict[str, Any]:
        """See [`Scorer`]."""
        return {"scorer": self.name, "version": "1"}

    def statistics(self, answer: str, reference: Reference) -> tuple[float, ...]:
        """See [`Scorer`]."""
        try:
            found: Any = json.loads(answer)
        except (ValueError, RecursionError):  # not JSON, too deep, or a number of thousands of digits
            return 0.0, 1.0
        true = json.loads(reference.accepted[0])
        if not isinstance(found, dict):
            return 0.0, 1.0
        labelled = all(str(found.get(key, "")).strip() == str(value).strip() for key, value in true.items())
        return float(labelled and (not self.strict or set(found) == set(true))), 1.0

    def value(self, sums: np.ndarray) -> np.ndarray:
        """See [`Scorer`]."""
        return ratio(sums)
