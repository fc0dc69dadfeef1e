"""The head that reads the transcript's letters off the audio patch embeddings."""

from __future__ import annotations

import torch
from torch import nn

from .spelling import LETTERS


STEPS_PER_TOKEN = 4
"""Letters that an audio token may tell: 50 a second at 12.5 audio tokens a second, three times what people say."""


class LetterHead(nn.Module):
    """RMSNorm, then a Linear to [`STEPS_PER_TOKEN`] x (blank + [`LETTERS`]).

    Args:
        student_width: hidden size of the student.
    """

    def __init__(self, student_width: int) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(student_width, eps=1e-6)
        self.projection = nn.Linear(student_width, STEPS_PER_TOKEN * (1 + len(LETTERS)))

    def reset_parameters(self) -> None:
        """Begins anew."""
        nn.init.ones_(self.norm.weight)
        self.projection.reset_parameters()

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Logits, symbol 0 is the blank, `(rows, steps, 1 + letters)`.

        Args:
            states: of the audio tokens, `(rows, audio tokens, student_width)`.
        """
        logits = self.projection(self.norm(states.to(self.norm.weight.dtype)))
        return logits.view(len(logits), -1, 1 + len(LETTERS))

    @torch.no_grad()
    def log_probabilities(self, states: torch.Tensor) -> torch.Tensor:
        """Of the blank (column 0) and every letter, in float32 whatever the weights are in.

        Args:
            states: of the audio tokens of one clip, `(audio tokens, student_width)`.

        Returns:
            `(steps, 1 + letters)`.
        """
        states = nn.functional.rms_norm(states.float(), states.shape[-1:], self.norm.weight.float(), self.norm.eps)
        logits = nn.functional.linear(states, self.projection.weight.float(), self.projection.bias.float())
        return logits.view(-1, 1 + len(LETTERS)).log_softmax(-1)
