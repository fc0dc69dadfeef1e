"""Connectionist temporal classification: which characters of the transcript an audio token's states tell, in their order."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F


class CTCLoss(nn.Module):
    r"""`-log p(transcript | states)` of each clip, summed over all alignments, in nats.

    It tells the student which sounds are where without an alignment, which next-token cross-entropy has to find out first. The
    trainer divides the sum by the characters of the transcripts of the whole optimisation step. A clip that is too short for
    its transcript has loss 0. Computed in float32.

    References:
        - Connectionist Temporal Classification (Graves et al., 2006)
        - Joint CTC-Attention based End-to-End Speech Recognition: https://arxiv.org/abs/1609.06773

    Inputs:
        | argument         | shape                     | meaning                                             |
        |------------------|---------------------------|-----------------------------------------------------|
        | `logits`         | `(clips, steps, symbols)` | symbol 0 is the blank; right padded                 |
        | `logit_lengths`  | `(clips,)`                | steps of each clip                                  |
        | `targets`        | `(clips, characters)`     | symbols 1 and up; right padded with anything        |
        | `target_lengths` | `(clips,)`                | characters of each transcript; 0 = has none         |
        | returns          | `(clips,)`                | negative log-likelihood, nats; 0 without transcript |

    Example:
        >>> import torch
        >>> logits = torch.zeros(1, 1, 2)  # one step, blank or "a": p("a") = 1/2
        >>> CTCLoss()(logits, torch.tensor([1]), torch.tensor([[1]]), torch.tensor([1])).exp()
        tensor([2.])
    """

    def forward(
        self,
        logits: torch.Tensor,
        logit_lengths: torch.Tensor,
        targets: torch.Tensor,
        target_lengths: torch.Tensor,
    ) -> torch.Tensor:
        log_probabilities = F.log_softmax(logits.float(), dim=-1).transpose(0, 1)
        losses = F.ctc_loss(
            log_probabilities, targets, logit_lengths, target_lengths, blank=0, reduction="none", zero_infinity=True
        )
        return losses * (target_lengths > 0)
