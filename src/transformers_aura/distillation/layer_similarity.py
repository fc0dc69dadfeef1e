"""How alike is what student and teacher hear, layer by layer: the map that shows where hearing has moved to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from ..modeling.modeling_aura import AuraForSpeechQA
from .alignment import LayerPair
from .collator import AuraDataCollator
from .heads import DistillationHeads
from .targets import TeacherTargets
from .teacher import AuraTeacher


@dataclass(frozen=True)
class LayerSimilarity:
    """Similarity of student and teacher states at the audio tokens of some clips.

    Attributes:
        cka (`np.ndarray` of shape `(student_layers + 1, teacher_layers)`): centred kernel alignment, at most 1, 0 = unrelated
            (small negative values are chance). Row 0 is the student's audio embedding, row `i + 1` the output of decoder
            layer `i`; column `j` the output of encoder layer `j`. Needs no head, so every pair of layers has a value.
        pair_cosines (`dict`): mean cosine similarity of each aligned (student, teacher) pair after its head, as in training.
        num_clips: clips it was measured on.
        num_audio_tokens: audio tokens among them that were used.
    """

    cka: np.ndarray
    pair_cosines: dict[LayerPair, float]
    num_clips: int
    num_audio_tokens: int

    @property
    def mean_pair_cosine(self) -> float:
        """Mean over the aligned pairs; NaN without heads."""
        return float(np.mean(list(self.pair_cosines.values()))) if self.pair_cosines else float("nan")


@torch.no_grad()
def layer_similarity(
    student: AuraForSpeechQA,
    teacher: AuraTeacher,
    rows: Sequence[Mapping[str, Any]],
    collator: AuraDataCollator,
    heads: DistillationHeads | None = None,
    *,
    batch_size: int = 8,
    max_audio_tokens: int = 2000,
) -> LayerSimilarity:
    """Compare every student layer with every teacher layer on clips that neither was trained on.

    Linear centred kernel alignment (CKA, Kornblith et al., arXiv 1905.00414) of the states at the audio tokens, each
    dimension standardised first (both networks have a few dimensions that would be all that is seen otherwise), with the
    unbiased estimator of HSIC (Song et al., 2012), which is 0 on average for unrelated states however wide they are. It
    compares how the two tell audio tokens apart; it does not say whether one can be read from the other with a linear map.
    Neighbouring audio tokens are alike in any network that hears, so compare a map with that of the untrained student or of
    a random teacher, not with 0.

    Args:
        student: the student; its mode (training or evaluation) is restored afterwards.
        teacher: the teacher.
        rows: rows with audio, as [`AuraDataCollator`] takes them.
        collator: of the student, without augmentation for a map that repeats exactly.
        heads: the trained heads, for `pair_cosines`.
        batch_size: clips in one forward.
        max_audio_tokens: use about so many audio tokens, evenly picked: time grows with the square.

    Raises:
        ValueError: if `rows` hold fewer than 4 audio tokens.
    """
    frames_per_token = student.config.audio_config.frames_per_token
    targets = TeacherTargets(teacher, range(teacher.num_layers), frames_per_token)
    was_training = student.training
    student.eval()
    student_states: list[torch.Tensor] = []
    teacher_states: list[torch.Tensor] = []
    rows = [row for row in rows if row.get("audio") is not None]
    try:
        for first in range(0, len(rows), batch_size):
            batch = collator(rows[first : first + batch_size])
            waveforms = batch["waveforms"]
            names = ("input_ids", "attention_mask", "input_features", "input_features_mask")
            inputs = {name: batch[name].to(student.device) for name in names}
            hidden_states = student.model(**inputs, output_hidden_states=True, use_cache=False).hidden_states
            is_audio = inputs["input_ids"] == student.config.audio_token_id
            student_states.append(torch.stack([states[is_audio] for states in hidden_states]).float())
            teacher_states.append(targets(waveforms).to(student.device))
    finally:
        student.train(was_training)
    ours = torch.cat(student_states, dim=1) if student_states else torch.zeros(1, 0, 1)
    theirs = torch.cat(teacher_states, dim=1) if teacher_states else torch.zeros(1, 0, 1)
    if ours.shape[1] < 4:
        raise ValueError(f"A similarity needs at least 4 audio tokens, the rows hold {ours.shape[1]}.")

    cosines: dict[LayerPair, float] = {}
    if heads is not None:
        normalized = heads.normalize_targets(theirs[heads.teacher_layers])
        slots = {layer: slot for slot, layer in enumerate(heads.teacher_layers)}
        predictions = heads([ours[student_layer + 1] for student_layer, _ in heads.pairs])
        for pair, prediction in zip(heads.pairs, predictions, strict=True):
            cosines[pair] = float(F.cosine_similarity(prediction, normalized[slots[pair[1]]], dim=-1).mean())

    num_tokens = ours.shape[1]
    picked = torch.linspace(0, num_tokens - 1, min(num_tokens, max_audio_tokens), device=ours.device).round().long()
    cka = centred_kernel_alignment(ours[:, picked], theirs[:, picked])
    return LayerSimilarity(cka.cpu().numpy(), cosines, len(rows), len(picked))


def centred_kernel_alignment(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Unbiased linear CKA of every layer of one network with every layer of another.

    Args:
        first (`torch.FloatTensor` of shape `(layers, items, width)`): states of the same items, ...
        second (`torch.FloatTensor` of shape `(other_layers, items, other_width)`): ... in the same order; at least 4.

    Returns:
        `torch.FloatTensor` of shape `(layers, other_layers)`.
    """
    kernels = [_centred_kernels(first), _centred_kernels(second)]
    cross = kernels[0] @ kernels[1].T
    norms = [kernel.square().sum(dim=1).sqrt() for kernel in kernels]
    return cross / (norms[0][:, None] * norms[1]).clamp(min=1e-12)


def _centred_kernels(states: torch.Tensor) -> torch.Tensor:
    """U-centred linear kernels, flat: `(layers, items, width)` to `(layers, items * items)`.

    The inner product of two U-centred kernels is the unbiased HSIC up to a factor (Székely and Rizzo, 2014).
    """
    layers, items, _ = states.shape
    flat = torch.empty(layers, items * items, device=states.device)
    for layer, layer_states in enumerate(states):
        scale = layer_states.std(dim=0, keepdim=True).clamp(min=1e-6)
        scaled = (layer_states - layer_states.mean(dim=0, keepdim=True)) / scale
        kernel = scaled @ scaled.T
        kernel.fill_diagonal_(0)
        sums = kernel.sum(dim=1) / (items - 2)
        kernel += sums.sum() / (items - 1) - sums[:, None] - sums[None, :]
        kernel.fill_diagonal_(0)
        flat[layer] = kernel.flatten()
    return flat
