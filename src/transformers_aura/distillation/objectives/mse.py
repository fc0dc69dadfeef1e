"""Mean squared error between projected student states and teacher states."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from ...modeling.modeling_aura import AuraForSpeechQA
from ..heads import DistillationHeads
from ..student_outputs import StudentOutputs
from .columns import teacher_waveforms
from .objective import Objective, num_audio_tokens


class MSEObjective(Objective):
    r"""Squared distance, averaged over the teacher's width, of each audio token.

    The mean over layer pairs, over audio tokens. With standardised teacher states (the default) a constant prediction of zero scores 1. Computed in
    float32 whatever the inputs are.

    References:
        - AuRA: Internalizing Audio Understanding into LLMs as LoRA: https://arxiv.org/abs/2606.11033

    Inputs of `distances`:
        | argument     | shape                   | meaning                                       |
        |--------------|-------------------------|-----------------------------------------------|
        | `prediction` | `(audio_tokens, width)` | student states after the head of the layer    |
        | `target`     | `(audio_tokens, width)` | teacher states at the student's rate          |
        | returns      | `(audio_tokens,)`       | mean squared error over `width`               |

    Example:
        >>> import torch
        >>> MSEObjective.distances(torch.tensor([[1.0, 3.0]]), torch.tensor([[0.0, 0.0]]))
        tensor([5.])
    """

    name = "mse"
    needs_teacher = True
    columns = (teacher_waveforms,)

    @staticmethod
    def distances(prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The distance of each token; shapes as in the table of the class."""
        return (prediction.float() - target.float()).square().mean(dim=-1)

    def prepare(self, student: AuraForSpeechQA, heads: DistillationHeads | None) -> None:
        super().prepare(student, heads)
        assert heads is not None
        self.depths = heads.student_depths

    def count(self, batch: Mapping[str, Any]) -> torch.Tensor:
        return num_audio_tokens(batch, self.audio_token_id)

    def loss(self, outputs: StudentOutputs) -> torch.Tensor:
        return torch.stack([self.distances(*pair).sum() for pair in outputs.layer_pairs]).mean()
