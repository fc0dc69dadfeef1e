"""Heads that bring student states to the teacher's width. Training only: they are never part of a released student."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

from .alignment import LayerPair


HEADS_FILE_NAME = "distillation_heads.safetensors"

TeacherNormalization: TypeAlias = Literal["standardize", "layer_norm", "none"]
TEACHER_NORMALIZATIONS: tuple[str, ...] = get_args(TeacherNormalization)


class TeacherStatistics:
    """Running mean and variance of teacher states, per layer and dimension, in float64.

    Args:
        num_layers: teacher layers.
        width: width of the teacher.
    """

    def __init__(self, num_layers: int, width: int) -> None:
        self.count = 0
        self.total = torch.zeros(num_layers, width, dtype=torch.float64)
        self.total_of_squares = torch.zeros(num_layers, width, dtype=torch.float64)

    def update(self, states: torch.Tensor) -> None:
        """Add states of shape `(layers, audio_tokens, width)`."""
        states = states.detach().to("cpu", torch.float64)
        self.count += states.shape[1]
        self.total += states.sum(dim=1)
        self.total_of_squares += states.square().sum(dim=1)

    def mean_and_std(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and standard deviation, each float32 of shape `(layers, width)`.

        A dimension that hardly moves would blow up its noise when divided by its deviation, so no deviation is smaller than
        a hundredth of its layer's mean deviation.
        """
        if self.count < 2:
            raise ValueError(f"Statistics need at least 2 audio tokens, got {self.count}.")
        mean = self.total / self.count
        std = (self.total_of_squares / self.count - mean.square()).clamp(min=0).sqrt()
        std = torch.maximum(std, 0.01 * std.mean(dim=-1, keepdim=True)).clamp(min=1e-6)
        return mean.float(), std.float()


class DistillationHeads(nn.Module):
    """One head for each layer pair: RMSNorm, then a Linear to the teacher's width; and the normalisation of the targets.

    Whisper states have a few dimensions hundreds of times larger than the rest; unnormalised, they are all that cosine and
    MSE see. `teacher_normalization` says what to do about it:

    - `"standardize"` (default): subtract the mean and divide by the standard deviation of each dimension, estimated on the
      first training clips before step 0 and kept here as buffers, hence saved and resumed with the heads;
    - `"layer_norm"`: a layer norm without parameters over the dimensions of each state;
    - `"none"`: teacher states as they are.

    Args:
        pairs: (student layer, teacher layer), 0-based, as `map_layers` gives them.
        student_width: hidden size of the student.
        teacher_width: width of the teacher.
        teacher_normalization: see above.
        seed: of the initial weights, independent of the global random state.
    """

    target_mean: torch.Tensor
    target_std: torch.Tensor

    def __init__(
        self,
        pairs: Sequence[LayerPair],
        student_width: int,
        teacher_width: int,
        teacher_normalization: TeacherNormalization = "standardize",
        seed: int = 0,
    ) -> None:
        super().__init__()
        if teacher_normalization not in TEACHER_NORMALIZATIONS:
            raise ValueError(
                f"`teacher_normalization={teacher_normalization!r}` is not known; use one of "
                f"{', '.join(TEACHER_NORMALIZATIONS)}."
            )
        self.pairs = [(int(student), int(teacher)) for student, teacher in pairs]
        self.student_width = student_width
        self.teacher_width = teacher_width
        self.teacher_normalization = teacher_normalization
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.heads = nn.ModuleList(
                nn.Sequential(nn.RMSNorm(student_width, eps=1e-6), nn.Linear(student_width, teacher_width))
                for _ in self.pairs
            )
        self.register_buffer("target_mean", torch.zeros(len(self.teacher_layers), teacher_width))
        self.register_buffer("target_std", torch.ones(len(self.teacher_layers), teacher_width))
        self.needs_statistics = teacher_normalization == "standardize"

    @property
    def teacher_layers(self) -> list[int]:
        """The teacher layers in use, 0-based, ascending: the order of the first dimension of the targets."""
        return sorted({teacher for _, teacher in self.pairs})

    @property
    def student_depths(self) -> tuple[int, ...]:
        """The depths of the student in use: layer -1, the patch embedding, is depth 0, layer `n` depth `n + 1`."""
        return tuple(sorted({student + 1 for student, _ in self.pairs}))

    def set_statistics(self, statistics: TeacherStatistics) -> None:
        """Take over mean and deviation of the teacher states (see `"standardize"`)."""
        mean, std = statistics.mean_and_std()
        self.target_mean.copy_(mean)
        self.target_std.copy_(std)
        self.needs_statistics = False

    def normalize_targets(self, targets: torch.Tensor) -> torch.Tensor:
        """Teacher states, ready to compare: `(teacher_layers, audio_tokens, width)` in and out."""
        if self.teacher_normalization == "standardize":
            if self.needs_statistics:
                raise RuntimeError(
                    "The mean and deviation of the teacher states are not set: call `set_statistics` first."
                )
            return (targets - self.target_mean[:, None]) / self.target_std[:, None]
        if self.teacher_normalization == "layer_norm":
            return F.layer_norm(targets, (self.teacher_width,))
        return targets

    def forward(self, student_states: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Student states of each pair `(audio_tokens, student_width)` to `(audio_tokens, teacher_width)`."""
        return [head(states.to(head[1].weight.dtype)) for head, states in zip(self.heads, student_states, strict=True)]

    def save(self, path: Path) -> None:
        """Write the heads, with the statistics of the targets, to one safetensors file."""
        settings = {
            "pairs": self.pairs,
            "student_width": self.student_width,
            "teacher_width": self.teacher_width,
            "teacher_normalization": self.teacher_normalization,
        }
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self.state_dict().items()}
        save_file(tensors, str(path), metadata={"distillation_heads": json.dumps(settings)})

    @classmethod
    def load(cls, path: Path) -> DistillationHeads:
        """Read heads written by `save`.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if the file is not one of this kind, or damaged.
        """
        if not Path(path).is_file():
            raise FileNotFoundError(
                f"{path} does not exist. Heads are part of a training checkpoint (`checkpoint-N/`), never of a released student."
            )
        try:
            with safe_open(str(path), framework="pt") as file:
                settings = json.loads((file.metadata() or {})["distillation_heads"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        except (SafetensorError, KeyError) as error:
            raise ValueError(f"{path} does not hold distillation heads, or is damaged: {error}") from error
        settings["pairs"] = [tuple(pair) for pair in settings["pairs"]]
        heads = cls(**settings)
        heads.load_state_dict(tensors)
        heads.needs_statistics = False
        return heads

    def load_from(self, path: Path) -> None:
        """Take over the weights and statistics in `path`, which must be for the same layer pairs, widths and normalisation.

        Raises:
            ValueError: naming the setting that differs.
        """
        saved = DistillationHeads.load(path)
        for name in ("pairs", "student_width", "teacher_width", "teacher_normalization"):
            if getattr(saved, name) != getattr(self, name):
                raise ValueError(
                    f"{path} was trained with {name}={getattr(saved, name)!r}, this run has {getattr(self, name)!r}. "
                    "Resume with the settings and the teacher of the first run."
                )
        self.load_state_dict(saved.state_dict())
        self.needs_statistics = False
