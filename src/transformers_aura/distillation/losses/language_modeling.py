"""Next-token cross-entropy on the labelled tokens."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F


class LanguageModelingLoss(nn.Module):
    r"""Cross-entropy of each labelled token, in nats.

    Takes only the rows that count: the logits at the positions *before* a labelled token. With a vocabulary of 150,000 the
    logits of the prompt and of the audio would be most of a step's memory for nothing. The trainer divides the sum by the
    labelled tokens of the whole optimisation step (`num_items_in_batch`).

    References:
        - AuRA: Internalizing Audio Understanding into LLMs as LoRA: https://arxiv.org/abs/2606.11033
        - Why the divisor is the whole step's: https://huggingface.co/blog/gradient_accumulation

    Inputs:
        | argument  | shape                          | meaning                                     |
        |-----------|--------------------------------|---------------------------------------------|
        | `logits`  | `(labelled_tokens, vocabulary)`| predictions for the labelled tokens         |
        | `labels`  | `(labelled_tokens,)`           | ids of the labelled tokens                  |
        | returns   | `(labelled_tokens,)`           | cross-entropy, nats                         |

    Example:
        >>> import torch
        >>> LanguageModelingLoss()(torch.zeros(1, 4), torch.tensor([2])).exp()
        tensor([4.])
    """

    def forward(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(logits.float(), labels, reduction="none")
