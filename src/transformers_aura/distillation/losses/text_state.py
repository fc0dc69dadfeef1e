"""How far a state of the student that hears a word lies from the state of the base LLM that reads it."""

from __future__ import annotations

import torch
from torch import nn


class TextStateLoss(nn.Module):
    r"""`|prediction - target|^2 / |target|^2` for each token of a transcript: 0 = the same state, 1 = as far as the zero vector.

    The target is the base LLM's own state, LoRA off, where it reads the token. No head stands between: what the layers above get
    is what they know from text. Computed in float32; no gradient flows to the target.

    References:
        - DiVA aligns output states of an LLM that hears with those of the LLM that reads (arXiv 2410.02678); here it is each
          token's state at a layer in between, where a CTC alignment says that the token was heard.

    Inputs:
        | argument     | shape             | meaning                                            |
        |--------------|-------------------|----------------------------------------------------|
        | `prediction` | `(tokens, width)` | student states where the tokens are heard          |
        | `target`     | `(tokens, width)` | states of the base LLM where it reads these tokens |
        | returns      | `(tokens,)`       | relative squared distance                          |

    Example:
        >>> import torch
        >>> TextStateLoss()(torch.tensor([[3.0, 0.0], [0.0, 0.0]]), torch.tensor([[3.0, 0.0], [0.0, 2.0]]))
        tensor([0., 1.])
    """

    def forward(self, prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        target = target.detach().float()
        distance = (prediction.float() - target).square().sum(dim=-1)
        return distance / target.square().sum(dim=-1).clamp(min=1e-12)
