"""Cosine distance between projected student states and teacher states."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F


class CosineLoss(nn.Module):
    r"""`1 - cos(prediction, target)` for each audio token: 0 = same direction, 1 = orthogonal, 2 = opposite.

    The trainer averages it over audio tokens and layer pairs. Computed in float32 whatever the inputs are.

    References:
        - AuRA: Internalizing Audio Understanding into LLMs as LoRA: https://arxiv.org/abs/2606.11033
        - VoRA: Vision as LoRA (the same loss for vision): https://arxiv.org/abs/2503.20680

    Inputs:
        | argument     | shape                   | meaning                                       |
        |--------------|-------------------------|-----------------------------------------------|
        | `prediction` | `(audio_tokens, width)` | student states after the head of the layer    |
        | `target`     | `(audio_tokens, width)` | teacher states at the student's rate          |
        | returns      | `(audio_tokens,)`       | cosine distance                               |

    Example:
        >>> import torch
        >>> CosineLoss()(torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([[2.0, 0.0], [0.0, 1.0]]))
        tensor([0., 1.])
    """

    def forward(self, prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return 1.0 - F.cosine_similarity(prediction.float(), target.float(), dim=-1)
