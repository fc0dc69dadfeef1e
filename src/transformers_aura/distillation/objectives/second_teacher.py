"""What the second teacher teaches: cosine and squared distance between projected student states and its states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from ...modeling.modeling_aura import AuraForSpeechQA
from ..heads import DistillationHeads
from ..student_outputs import StudentOutputs
from .columns import teacher_waveforms
from .cosine import CosineObjective
from .mse import MSEObjective
from .objective import Objective, num_audio_tokens


class SecondTeacherObjective(Objective):
    """[`CosineObjective`] plus [`MSEObjective`], with the layer pairs, heads and states of the second teacher.

    The mean over its layer pairs, over audio tokens. Also logs the cosine (`second_cosine`), and that of each pair (`cosine/second_student_4_teacher_0`).

    Example:
        >>> SecondTeacherObjective(weight=0.5).weight
        0.5
    """

    name = "second_teacher"
    needs_second_teacher = True
    columns = (teacher_waveforms,)

    def prepare(self, student: AuraForSpeechQA, heads: DistillationHeads | None) -> None:
        super().prepare(student, heads)
        assert heads is not None
        self.depths = heads.student_depths
        pairs = (f"cosine/second_student_{student}_teacher_{teacher}" for student, teacher in heads.pairs)
        self.metrics = ("second_cosine", *pairs)

    def count(self, batch: Mapping[str, Any]) -> torch.Tensor:
        return num_audio_tokens(batch, self.audio_token_id)

    def loss(self, outputs: StudentOutputs) -> torch.Tensor:
        squared = [MSEObjective.distances(*pair).sum() for pair in outputs.second_layer_pairs]
        return outputs.once(self._cosine_distances).mean() + torch.stack(squared).mean()

    def metric_sums(self, outputs: StudentOutputs) -> Sequence[torch.Tensor]:
        cosines = self.count(outputs.batch) - outputs.once(self._cosine_distances).detach()
        return [cosines.mean(), *cosines]

    def _cosine_distances(self, outputs: StudentOutputs) -> torch.Tensor:
        """Of each pair, summed over audio tokens."""
        return torch.stack([CosineObjective.distances(*pair).sum() for pair in outputs.second_layer_pairs])
