"""An LLM as judge, as a plug-in."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .interface import Reference, ratio


PROMPT = (
    "Question: {question}\nAccepted answers: {accepted}\nGiven answer: {answer}\n"
    "Does the given answer mean one of the accepted answers? Answer yes or no."
)


@dataclass(frozen=True)
class JudgeScorer:
    """Whether a judge says yes.

    Args:
        ask: gives the judge's reply to a prompt.
        judge: which model replies, for the result file.
        prompt: with `{question}`, `{accepted}` and `{answer}`.
    """

    ask: Callable[[str], str] = field(repr=False, compare=False)
    judge: str
    prompt: str = PROMPT
    name: str = "judge"
    higher_is_better: bool = True
    is_share: bool = True

    @property
    def identity(self) -> dict[str, Any]:
        """See [`Scorer`]; the prompt by its sha256."""
        digest = hashlib.sha256(self.prompt.encode()).hexdigest()
        return {"scorer": self.name, "version": "1", "judge": self.judge, "prompt": digest}

    def statistics(self, answer: str, reference: Reference) -> tuple[float, ...]:
        """See [`Scorer`]. An empty answer is wrong unasked.

        Raises:
            ValueError: the judge says neither yes nor no.
        """
        if not answer.strip():
            return 0.0, 1.0
        accepted = " / ".join(reference.accepted)
        reply = self.ask(self.prompt.format(question=reference.question or "", accepted=accepted, answer=answer))
        verdict = reply.strip().lower().split()[:1]
        word = verdict[0].strip(".,:;!\"'*") if verdict else ""
        if word not in ("yes", "no"):
            raise ValueError(f"The judge {self.judge} should say yes or no, but said {reply[:200]!r}.")
        return float(word == "yes"), 1.0

    def value(self, sums: np.ndarray) -> np.ndarray:
        """See [`Scorer`]."""
        return ratio(sums)
