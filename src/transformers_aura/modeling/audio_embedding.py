"""The audio patch embedding: log-mel frames in, vectors of the LLM's embedding space out. No encoder."""

from __future__ import annotations

import torch
from torch import nn

from ..processing.audio_tokens import num_audio_tokens
from .configuration_aura import AuraAudioConfig


class CausalConvBlock(nn.Module):
    """A residual depthwise-separable convolution in ConvNeXt's layout (arXiv 2201.03545), padded on the left only.

    Depthwise convolution over 7 steps -> RMSNorm -> Linear to twice the width -> GELU -> Linear back, added to the input.

    Args:
        width (`int`): channels.
        eps (`float`): epsilon of the norm.
    """

    kernel_size = 7

    def __init__(self, width: int, eps: float):
        super().__init__()
        self.depthwise = nn.Conv1d(width, width, self.kernel_size, groups=width)
        self.norm = nn.RMSNorm(width, eps=eps)
        self.expand = nn.Linear(width, 2 * width)
        self.reduce = nn.Linear(2 * width, width)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """`(num_audios, steps, width)` in and out; step `t` depends on the steps `t - 6` to `t`."""
        mixed = self.depthwise(nn.functional.pad(states.transpose(1, 2), (self.kernel_size - 1, 0))).transpose(1, 2)
        return states + self.reduce(nn.functional.gelu(self.expand(self.norm(mixed))))


class AuraAudioEmbedding(nn.Module):
    """Turns groups of `frames_per_token` log-mel frames into audio embeddings of the LLM's width.

    `conv`: Whisper's stem layout (two convolutions of width 3 with GELU, the second of stride 2), padded on the left
    only, so that an audio token depends on no later frame; `conv_blocks` residual convolutions, causal too; then the
    `frames_per_token / 2` outputs side by side -> Linear -> RMSNorm with a learned gain. `linear`: the frames side by
    side -> Linear -> RMSNorm.

    Args:
        config ([`AuraAudioConfig`]): what an audio token sees.
        hidden_size (`int`): width of the LLM.
    """

    def __init__(self, config: AuraAudioConfig, hidden_size: int):
        super().__init__()
        self.frames_per_token = config.frames_per_token
        self.num_mel_bins = config.num_mel_bins
        self.conv1: nn.Conv1d | None = None
        self.conv2: nn.Conv1d | None = None
        if config.patch_embedding == "conv":
            self.conv1 = nn.Conv1d(config.num_mel_bins, config.conv_width, kernel_size=3)
            self.conv2 = nn.Conv1d(config.conv_width, config.conv_width, kernel_size=3, stride=2)
            patch_size = config.conv_width * config.frames_per_token // 2
        else:
            patch_size = config.num_mel_bins * config.frames_per_token
        self.blocks = nn.ModuleList(
            CausalConvBlock(config.conv_width, config.rms_norm_eps) for _ in range(config.conv_blocks)
        )
        self.proj = nn.Linear(patch_size, hidden_size)
        self.norm = nn.RMSNorm(hidden_size, eps=config.rms_norm_eps)

    def forward(
        self, input_features: torch.Tensor, input_features_mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """
        Args:
            input_features (`torch.FloatTensor` of shape `(num_audios, num_frames, num_mel_bins)`): log-mel frames,
                padded on the right.
            input_features_mask (`torch.BoolTensor` of shape `(num_audios, num_frames)`): `True` = a real frame.

        Returns:
            audio embeddings of shape `(num_audios, audio_tokens, hidden)` and a mask of shape
            `(num_audios, audio_tokens)`, `True` = an audio token of at least one real frame.
        """
        num_audios, num_frames, num_mel_bins = input_features.shape
        if num_mel_bins != self.num_mel_bins:
            raise ValueError(
                f"`input_features` must have shape (num_audios, num_frames, {self.num_mel_bins}); "
                f"got {tuple(input_features.shape)}. Do the model and its feature extractor belong together?"
            )
        # The last patch of a clip may be partial: what follows the clip is zero, whatever the features were padded with,
        # so that a clip is embedded alike alone and in a batch.
        frames = input_features.to(self.proj.weight.dtype) * input_features_mask.unsqueeze(-1)
        num_tokens = num_audio_tokens(num_frames, self.frames_per_token)
        frames = nn.functional.pad(frames, (0, 0, 0, num_tokens * self.frames_per_token - num_frames))
        if self.conv1 is not None and self.conv2 is not None:
            states = frames.transpose(1, 2)
            states = nn.functional.gelu(self.conv1(nn.functional.pad(states, (2, 0))))
            states = nn.functional.gelu(self.conv2(nn.functional.pad(states, (1, 0))))
            frames = states.transpose(1, 2)
        for block in self.blocks:
            frames = block(frames)
        embeddings = self.norm(self.proj(frames.reshape(num_audios, num_tokens, -1)))
        clip_tokens = num_audio_tokens(input_features_mask.sum(-1), self.frames_per_token)
        token_mask = torch.arange(num_tokens, device=embeddings.device) < clip_tokens.unsqueeze(-1)
        return embeddings, token_mask

    @torch.no_grad()
    def init_from_teacher_stem(self, conv1: nn.Conv1d, conv2: nn.Conv1d) -> None:
        """Starts the convolutions from those of a Whisper encoder of the same width and mel bins.

        Raises:
            ValueError: the patch embedding is linear, or its shapes differ from the teacher's.
        """
        if self.conv1 is None or self.conv2 is None:
            raise ValueError('Only `patch_embedding="conv"` can start from a teacher\'s stem.')
        if self.conv1.weight.shape != conv1.weight.shape:
            raise ValueError(
                f"The teacher's stem has {conv1.in_channels} mel bins and width {conv1.out_channels}, the student's "
                f"{self.conv1.in_channels} and {self.conv1.out_channels}. "
                f"Build the student with `num_mel_bins={conv1.in_channels}, conv_width={conv1.out_channels}`."
            )
        for own, teachers in ((self.conv1, conv1), (self.conv2, conv2)):
            own.load_state_dict(teachers.state_dict())
