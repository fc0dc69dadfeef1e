"""BLEU, by sacrebleu (Post 2018)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ...extras import import_extra
from .interface import Reference


MAX_ORDER = 4


@dataclass(frozen=True)
class Bleu:
    """Corpus BLEU, from 0 to 100; the figure of a set of items is that of the set, not a mean over items.

    Args:
        tokenize, lowercase: of sacrebleu.

    Example:
        >>> bleu = Bleu()
        >>> sums = bleu.statistics("ein kleiner Kaffee bitte", Reference(("ein kleiner Kaffee bitte",)))
        >>> round(float(bleu.value(np.array(sums))))
        100
    """

    tokenize: str = "13a"
    lowercase: bool = False
    name: str = "bleu"
    higher_is_better: bool = True
    is_share: bool = False

    @cached_property
    def _metric(self) -> Any:
        sacrebleu = import_extra("sacrebleu.metrics.bleu", "evaluation", "BLEU")
        return sacrebleu.BLEU(tokenize=self.tokenize, lowercase=self.lowercase)

    @property
    def identity(self) -> dict[str, Any]:
        """See [`Scorer`]; sacrebleu's own signature."""
        self._metric.corpus_score(["x"], [["x"]])  # the signature counts references
        return {"scorer": self.name, "version": "1", "signature": self._metric.get_signature().format()}

    def statistics(self, answer: str, reference: Reference) -> tuple[float, ...]:
        """`(answer's length, reference's length, right n-grams of 1 to 4, all n-grams of 1 to 4)`; see [`Scorer`].

        Raises:
            MissingExtraError: sacrebleu is not installed.
        """
        score = self._metric.corpus_score([answer], [[accepted] for accepted in reference.accepted])
        return tuple(map(float, (score.sys_len, score.ref_len, *score.counts, *score.totals)))

    def value(self, sums: np.ndarray) -> np.ndarray:
        """See [`Scorer`]. sacrebleu's formula with its exponential smoothing of orders without a match, over all leading axes."""
        sums = np.asarray(sums, dtype=np.float64)
        answered, true = sums[..., 0], sums[..., 1]
        counts, totals = sums[..., 2 : 2 + MAX_ORDER], sums[..., 2 + MAX_ORDER :]
        nothing = (counts == 0) & (totals > 0)
        halvings = np.cumsum(nothing, axis=-1)
        smoothed = np.where(nothing, 0.5**halvings, counts)
        with np.errstate(divide="ignore", invalid="ignore"):
            precisions = np.where(totals > 0, smoothed / totals, 0.0)
            brevity = np.where(answered < true, np.where(answered > 0, np.exp(1 - true / answered), 0.0), 1.0)
            score = 100 * brevity * np.exp(np.log(precisions).mean(axis=-1))
        return np.where((counts[..., 0] > 0) & (totals > 0).all(axis=-1), score, 0.0)
