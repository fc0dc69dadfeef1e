"""Self-distillation of answers: the base LLM that reads the gold transcript teaches the student that hears it."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F


class AnswerKLLoss(nn.Module):
    r"""`KL(teacher || student)` over the vocabulary for each answer token, in nats.

    The teacher is the base LLM, LoRA off, whose prompt holds the gold transcript in place of the audio; both see the same
    answer tokens (teacher forcing). Both distributions are softened by `temperature`; the result is multiplied by
    `temperature ** 2`, so that the size of the gradient does not depend on it (Hinton et al.). No gradient flows to the
    teacher's logits.

    References:
        - Distilling the Knowledge in a Neural Network: https://arxiv.org/abs/1503.02531

    Args:
        temperature: above 0; 1 = the distributions as they are.

    Inputs:
        | argument         | shape                        | meaning                                       |
        |------------------|------------------------------|-----------------------------------------------|
        | `student_logits` | `(answer_tokens, vocabulary)`| predictions for the answer tokens from audio  |
        | `teacher_logits` | `(answer_tokens, vocabulary)`| predictions for the same tokens from the text |
        | returns          | `(answer_tokens,)`           | divergence, nats, times `temperature ** 2`    |

    Example:
        >>> import torch
        >>> logits = torch.tensor([[1.0, 2.0, 3.0]])
        >>> AnswerKLLoss(temperature=2.0)(logits, logits)
        tensor([0.])
    """

    def __init__(self, temperature: float = 1.0) -> None:
        super().__init__()
        if not temperature > 0:
            raise ValueError(f"`temperature` must be above 0, got {temperature}.")
        self.temperature = temperature

    def forward(self, student_logits: torch.Tensor, teacher_logits: torch.Tensor) -> torch.Tensor:
        student = F.log_softmax(student_logits.float() / self.temperature, dim=-1)
        teacher = F.log_softmax(teacher_logits.detach().float() / self.temperature, dim=-1)
        divergence = F.kl_div(student, teacher, reduction="none", log_target=True).sum(dim=-1)
        return divergence * self.temperature**2
