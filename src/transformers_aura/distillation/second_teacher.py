"""A second teacher beside Whisper, with layer pairs and a weight of its own."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .alignment import LayerMapping
from .teacher import Teacher


SECOND_HEADS_FILE_NAME = "second_distillation_heads.safetensors"


@dataclass(frozen=True)
class SecondTeacher:
    """
    What [`AuraTrainer`] takes as `second_teacher`.

    Attributes:
        teacher ([`WaveformTeacher`] or [`AuraTeacher`]): its states are what the student's audio positions learn to tell, beside those of the first teacher.
        layers: which student layer learns from which of its layers, see [`~distillation.alignment.map_layers`].
        weight: of its term in the loss.
    """

    teacher: Teacher
    layers: LayerMapping = "uniform"
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.weight < math.inf:
            raise ValueError(f"The weight of a second teacher must be above 0, got {self.weight!r}.")
