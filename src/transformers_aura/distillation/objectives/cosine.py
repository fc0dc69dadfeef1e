"""Cosine distance between projected student states and teacher states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.nn import functional as F

from ...modeling.modeling_aura import AuraForSpeechQA
from ..heads import DistillationHeads
from ..student_outputs import StudentOutputs
from .columns import teacher_waveforms
from .objective import Objective, num_audio_tokens


class CosineObjective(Objective):
    r"""`1 - cos(prediction, target)` of each audio token: 0 = same direction, 1 = orthogonal, 2 = opposite.

    The mean over layer pairs, over audio tokens. Computed in float32 whatever the inputs are. Also logs the cosine itself (`cosine`), and that of
    each pair (`cosine/student_4_teacher_0`).

    References:
        - AuRA: Internalizing Audio Understanding into LLMs as LoRA: https://arxiv.org/abs/2606.11033
        - VoRA: Vision as LoRA (the same loss for vision): https://arxiv.org/abs/2503.20680

    Inputs of `distances`:
        | argument     | shape                   | meaning                                       |
        |--------------|-------------------------|-----------------------------------------------|
        | `prediction` | `(audio_tokens, width)` | student states after the head of the layer    |
        | `target`     | `(audio_tokens, width)` | teacher states at the student's rate          |
        | returns      | `(audio_tokens,)`       | cosine distance                               |

    Example:
        >>> import torch
        >>> CosineObjective.distances(torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([[2.0, 0.0], [0.0, 1.0]]))
        tensor([0., 1.])
    """

    name = "cosine"
    needs_teacher = True
    columns = (teacher_waveforms,)

    @staticmethod
    def distances(prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The distance of each token; shapes as in the table of the class."""
        return 1.0 - F.cosine_similarity(prediction.float(), target.float(), dim=-1)

    def prepare(self, student: AuraForSpeechQA, heads: DistillationHeads | None) -> None:
        super().prepare(student, heads)
        assert heads is not None
        self.depths = heads.student_depths
        pairs = (f"cosine/student_{student}_teacher_{teacher}" for student, teacher in heads.pairs)
        self.metrics = ("cosine", *pairs)

    def count(self, batch: Mapping[str, Any]) -> torch.Tensor:
        return num_audio_tokens(batch, self.audio_token_id)

    def loss(self, outputs: StudentOutputs) -> torch.Tensor:
        return outputs.once(self._sums).mean()

    def metric_sums(self, outputs: StudentOutputs) -> Sequence[torch.Tensor]:
        cosines = self.count(outputs.batch) - outputs.once(self._sums).detach()
        return [cosines.mean(), *cosines]

    def _sums(self, outputs: StudentOutputs) -> torch.Tensor:
        """The distance of each pair, summed over audio tokens."""
        return torch.stack([self.distances(*pair).sum() for pair in outputs.layer_pairs])
