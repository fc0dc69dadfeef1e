"""Mean squared error between projected student states and teacher states."""

from __future__ import annotations

import torch
from torch import nn


class MSELoss(nn.Module):
    r"""Squared distance, averaged over the teacher's width, for each audio token.

    The trainer averages it over audio tokens and layer pairs. With standardised teacher states (the default) a constant
    prediction of zero scores 1. Computed in float32 whatever the inputs are.

    References:
        - AuRA: Internalizing Audio Understanding into LLMs as LoRA: https://arxiv.org/abs/2606.11033

    Inputs:
        | argument     | shape                   | meaning                                       |
        |--------------|-------------------------|-----------------------------------------------|
        | `prediction` | `(audio_tokens, width)` | student states after the head of the layer    |
        | `target`     | `(audio_tokens, width)` | teacher states at the student's rate          |
        | returns      | `(audio_tokens,)`       | mean squared error over `width`               |

    Example:
        >>> import torch
        >>> MSELoss()(torch.tensor([[1.0, 3.0]]), torch.tensor([[0.0, 0.0]]))
        tensor([5.])
    """

    def forward(self, prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return (prediction.float() - target.float()).square().mean(dim=-1)
