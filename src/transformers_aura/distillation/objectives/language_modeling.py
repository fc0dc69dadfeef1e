"""Next-token cross-entropy on the labelled tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch.nn import functional as F

from ..examples import IGNORED_LABEL
from ..student_outputs import StudentOutputs
from .objective import Objective


class LanguageModelingObjective(Objective):
    r"""Cross-entropy of each labelled token (the answer and the token that ends the turn), in nats.

    Args:
        weight: of the term.
        label_smoothing: so much of the probability that is aimed at goes to all tokens of the vocabulary alike.

    References:
        - AuRA: Internalizing Audio Understanding into LLMs as LoRA: https://arxiv.org/abs/2606.11033
        - Why the divisor is the whole step's: https://huggingface.co/blog/gradient_accumulation

    Inputs of `cross_entropies`:
        | argument    | shape                          | meaning                                     |
        |-------------|--------------------------------|---------------------------------------------|
        | `logits`    | `(labelled_tokens, vocabulary)`| predictions for the labelled tokens         |
        | `labels`    | `(labelled_tokens,)`           | ids of the labelled tokens                  |
        | `smoothing` | a number                       | `label_smoothing`                           |
        | returns     | `(labelled_tokens,)`           | cross-entropy, nats                         |

    Example:
        >>> import torch
        >>> LanguageModelingObjective.cross_entropies(torch.zeros(1, 4), torch.tensor([2])).exp()
        tensor([4.])
    """

    name = "lm"
    needs_text = True
    needs_logits = True
    teaches_answers = True

    def __init__(self, weight: float = 1.0, label_smoothing: float = 0.0) -> None:
        super().__init__(weight)
        self.label_smoothing = label_smoothing

    @staticmethod
    def cross_entropies(logits: torch.Tensor, labels: torch.Tensor, smoothing: float = 0.0) -> torch.Tensor:
        """The cross-entropy of each token; shapes as in the table of the class."""
        return F.cross_entropy(logits.float(), labels, reduction="none", label_smoothing=smoothing)

    def count(self, batch: Mapping[str, Any]) -> torch.Tensor:
        return batch["labels"][:, 1:].ne(IGNORED_LABEL).sum()

    def loss(self, outputs: StudentOutputs) -> torch.Tensor:
        return self.cross_entropies(outputs.labelled_logits, outputs.labels, self.label_smoothing).sum()
