"""An LLM as judge, as a plug-in."""

from __future__ import annotations

import hashlib
import re
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
        prompt: with `{accepted}`, `{answer}` and, if wanted, `{question}`; other braces stay as they are.

    Example:
        >>> JudgeScorer(ask=lambda prompt: "yes", judge="always yes").statistics("Paris", Reference(("Paris",)))
        (1.0, 1.0)

    Raises:
        ValueError: the prompt has no place for the answer, or for what is accepted.
    """

    ask: Callable[[str], str] = field(repr=False, compare=False)
    judge: str
    prompt: str = PROMPT
    name: str = "judge"
    higher_is_better: bool = True
    is_share: bool = True

    def __post_init__(self) -> None:
        if missing := [name for name in ("{accepted}", "{answer}") if name not in self.prompt]:
            raise ValueError(f"The judge's prompt has no place for {missing[0]}.")

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
        filled = self.prompt
        for field_, text in (
            ("question", reference.question or ""),
            ("accepted", " / ".join(reference.accepted)),
            ("answer", answer),
        ):
            filled = filled.replace("{" + field_ + "}", text)
        reply = self.ask(filled)
        verdict = re.match(r"\W*(yes|no)\b", reply.lower())
        if verdict is None:
            raise ValueError(f"The judge {self.judge} should say yes or no, but said {reply[:200]!r}.")
        return float(verdict[1] == "yes"), 1.0

    def value(self, sums: np.ndarray) -> np.ndarray:
        """See [`Scorer`]."""
        return ratio(sums)
