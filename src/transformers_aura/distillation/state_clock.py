"""Which states of an encoder belong to which audio token, for encoders whose convolutions run over the waveform."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ..processing.audio_tokens import num_audio_tokens
from .alignment import TIME_ALIGNMENTS, TimeAlignment


SAMPLES_PER_FRAME = 160
"""Samples at 16 kHz from one log-mel frame of the student to the next."""


@dataclass(frozen=True)
class StateClock:
    """When the states of a stack of convolutions over the waveform are, in samples at 16 kHz.

    Attributes:
        samples_per_state: from one state to the next, the product of the strides (wav2vec2: 320, hence 50 states a second).
        receptive_field: samples that one state is computed from (wav2vec2: 400). State 0 is centred in the middle of the first so many.
    """

    samples_per_state: int
    receptive_field: int

    @classmethod
    def of_convolutions(cls, kernels: Sequence[int], strides: Sequence[int]) -> StateClock:
        """Of convolutions without padding, one after the other."""
        stride, field = 1, 1
        for kernel, step in zip(kernels, strides, strict=True):
            field += (kernel - 1) * stride
            stride *= step
        return cls(stride, field)

    def num_states(self, num_samples: int) -> int:
        """States of so many samples: one for each whole receptive field."""
        return max((num_samples - self.receptive_field) // self.samples_per_state + 1, 0)

    def pool(
        self,
        states: torch.Tensor,
        num_states: torch.Tensor,
        num_frames: torch.Tensor,
        frames_per_token: int,
        time_alignment: TimeAlignment = "mean",
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Bring states to the student's clock: one vector for each audio token, as
        [`~distillation.alignment.pool_teacher_states`] does for Whisper.

        A state stands for the samples around its centre, half of the way to its neighbours.

        - `"mean"`: the mean of the states in the token's window, each by the share of it that lies there. A window that no state reaches, as at the
          ends of a clip, takes the one that `"interpolate"` gives.
        - `"interpolate"`: the state at the centre of the token's window, linear between its two neighbours; beyond the centre of the first or last
          state that state itself.

        Args:
            states (`torch.Tensor` of shape `(batch, states, width)`): right padded with zeros.
            num_states (`torch.LongTensor` of shape `(batch,)`): real states of each clip, at least 1.
            num_frames (`torch.LongTensor` of shape `(batch,)`): real log-mel frames of each clip, 100 a second.
            frames_per_token: log-mel frames of one audio token.
            time_alignment: `"mean"` or `"interpolate"`.

        Returns:
            `torch.Tensor` of shape `(batch, audio_tokens, width)`, zero at padding, and `torch.BoolTensor` of shape `(batch, audio_tokens)`, `True` =
            real audio token.
        """
        if time_alignment not in TIME_ALIGNMENTS:
            raise ValueError(
                f"`time_alignment={time_alignment!r}` is not known; use one of {', '.join(TIME_ALIGNMENTS)}."
            )
        longest = int(num_frames.max()) if num_frames.numel() else 0
        token = torch.arange(num_audio_tokens(longest, frames_per_token), device=states.device)
        mask = token < num_audio_tokens(num_frames, frames_per_token)[:, None]
        start = (token * frames_per_token * SAMPLES_PER_FRAME).expand(len(num_frames), -1)
        end = torch.minimum(start + frames_per_token * SAMPLES_PER_FRAME, num_frames[:, None] * SAMPLES_PER_FRAME)
        weights = self._interpolation((start + end) / 2, num_states, states.shape[1])
        if time_alignment == "mean":
            overlap = self._overlap(start, end, num_states, states.shape[1])
            weights = torch.where(overlap.sum(-1, keepdim=True) > 0, overlap, weights)
        weights = (weights / weights.sum(-1, keepdim=True)).masked_fill(~mask[..., None], 0.0)
        return weights.to(states.dtype) @ states, mask

    def _interpolation(self, centre: torch.Tensor, num_states: torch.Tensor, longest: int) -> torch.Tensor:
        position = ((centre - self.receptive_field / 2) / self.samples_per_state).clamp(min=0)
        position = torch.minimum(position, (num_states[:, None] - 1).to(position.dtype))
        state = torch.arange(longest, device=centre.device)
        return (1 - (position[..., None] - state).abs()).clamp(min=0)

    def _overlap(self, start: torch.Tensor, end: torch.Tensor, num_states: torch.Tensor, longest: int) -> torch.Tensor:
        state = torch.arange(longest, device=start.device)
        first = self.receptive_field / 2 + (state - 0.5) * self.samples_per_state
        shared = torch.minimum(end[..., None], first + self.samples_per_state) - torch.maximum(start[..., None], first)
        return shared.clamp(min=0) * (state < num_states[:, None])[:, None]
