"""How the teacher's heads look back and ahead on average: what the kernels of a student's patch embedding start from."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from .teacher import STATES_PER_SECOND, AuraTeacher


def mean_attention_by_distance(
    teacher: AuraTeacher, waveforms: Sequence[np.ndarray], past_steps: int, future_steps: int
) -> torch.Tensor:
    """The mean attention weight that each head of the teacher gives to the state at each distance.

    Args:
        teacher ([`AuraTeacher`]): whose encoder is a stock `WhisperEncoder`.
        waveforms (`list` of `np.ndarray` of shape `(samples,)`): clips of speech, mono, float32, 16 kHz. Of longer ones the
            first window of the teacher (30 s) counts.
        past_steps, future_steps: farthest distances, in states of 20 ms.

    Returns:
        `torch.FloatTensor` of shape `(layers, heads, past_steps + 1 + future_steps)`, from `past_steps` back to
        `future_steps` ahead, on the CPU. The sum over distances is below 1: attention farther away is left out.
    """
    if not waveforms:
        raise ValueError("The mean attention of the teacher needs at least one clip.")
    layers = teacher.encoder.layers
    projected: dict[tuple[str, int], torch.Tensor] = {}

    def keep(key: tuple[str, int], _module: torch.nn.Module, _inputs: Any, output: torch.Tensor) -> None:
        projected[key] = output[0].float()

    hooks = [
        projection.register_forward_hook(partial(keep, (name, index)))
        for index, layer in enumerate(layers)
        for name, projection in (("query", layer.self_attn.q_proj), ("key", layer.self_attn.k_proj))
    ]
    distances = range(-past_steps, future_steps + 1)
    total = torch.zeros(len(layers), layers[0].self_attn.num_heads, len(distances), dtype=torch.float64)
    num_states = 0
    longest = teacher.states_per_window * teacher.feature_extractor.sampling_rate // STATES_PER_SECOND
    try:
        for waveform in waveforms:
            length = int(teacher([waveform[:longest]]).lengths[0])
            num_states += length
            for index, layer in enumerate(layers):
                attention = layer.self_attn
                query, key = (
                    projected[name, index].unflatten(-1, (attention.num_heads, -1)).transpose(0, 1)
                    for name in ("query", "key")
                )
                weights = (query @ key.transpose(-1, -2) * attention.scaling).softmax(-1)[:, :length, :length]
                for column, distance in enumerate(distances):
                    total[index, :, column] += weights.diagonal(distance, 1, 2).sum(-1).cpu()
    finally:
        for hook in hooks:
            hook.remove()
    return (total / num_states).float()
