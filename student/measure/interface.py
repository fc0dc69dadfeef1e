"""What a system gets and gives: recordings and questions in, texts out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np


Kind = Literal["order", "answer", "transcript"]
"""What is wanted: an order's slots as JSON, an answer to a spoken question, or a transcript."""


@dataclass(frozen=True)
class Request:
    """What a system gets: samples (float32 `(n_samples,)`, 16 kHz) and a written question, `None` where the recording is the question.

    `text` is what is said, which only a system that reads the truth may use.
    """

    samples: np.ndarray
    question: str | None
    text: str | None = None


class System(Protocol):
    """Answers requests.

    Attributes:
        name: column of the report.
        kinds: what it can be asked for.
        identity: everything that its answers depend on, for the report and to know whether earlier answers still hold.
    """

    name: str
    kinds: frozenset[Kind]

    @property
    def identity(self) -> dict[str, Any]: ...

    def answer(self, requests: Sequence[Request]) -> list[str]:
        """One text a request. The requests run as one batch."""
        ...
