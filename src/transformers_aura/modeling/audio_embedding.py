"""The audio patch embedding: log-mel frames in, vectors of the LLM's embedding space out. No encoder."""

from __future__ import annotations

from typing import TypeAlias

import torch
from torch import nn

from ..processing.audio_tokens import num_audio_tokens
from .configuration_aura import AuraAudioConfig


TEACHER_FRAMES_PER_STEP = 2
"""Log-mel frames from one state of a Whisper encoder to the next."""

_OFFSET_STATES = 200
"""Position embeddings of the teacher that the offset is the mean of: of 4 s, as long as most utterances."""


TOKENS_AT_ONCE = 512
"""A longer clip is embedded in parts of at most so many audio tokens: the memory that it takes does not grow with its length."""

ConvolutionPast: TypeAlias = "dict[nn.Module, torch.Tensor]"
"""Of the modules that look back, the last inputs that they had, `(num_audios, channels, steps)`: what audio that goes on is embedded from. Its
tensors are never changed, so that a copy of the dict stays as it is."""


def behind_past(module: nn.Module, inputs: torch.Tensor, length: int, past: ConvolutionPast | None) -> torch.Tensor:
    """Inputs of a module behind the `length` last ones that it had before, which are zeros at the beginning of a clip.

    Args:
        inputs (`(num_audios, channels, steps)`): of the module.
        past: takes note of the last inputs; `None`: this is a whole clip.

    Returns:
        `(num_audios, channels, length + steps)`.
    """
    if past is None:
        return nn.functional.pad(inputs, (length, 0))
    before = past.get(module)
    joined = nn.functional.pad(inputs, (length, 0)) if before is None else torch.cat([before, inputs], dim=-1)
    past[module] = joined[..., -length:].clone()
    return joined


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

    def forward(
        self, states: torch.Tensor, step_mask: torch.Tensor, past: ConvolutionPast | None = None
    ) -> torch.Tensor:
        """`(num_audios, steps, width)` in and out; step `t` depends on the steps `t - 6` to `t`. The mask is not needed."""
        mixed = self.depthwise(behind_past(self, states.transpose(1, 2), self.kernel_size - 1, past)).transpose(1, 2)
        return states + self.reduce(nn.functional.gelu(self.expand(self.norm(mixed))))


class KernelConvBlock(nn.Module):
    """A Whisper encoder layer in which a fixed kernel over relative time stands in the place of attention.

    LayerNorm -> Linear (the teacher's values) -> depthwise convolution -> Linear (the teacher's output map), added to the
    input; then LayerNorm -> Linear to four times the width -> GELU -> Linear back, added again. Whisper's heads look at
    fixed distances for the most part; a kernel that starts at a head's mean attention by distance takes over what it
    does, and everything else starts from the teacher's own weights.

    The kernel looks back over 0.48 s (at 100 frames a second), across blocks of audio, and ahead over up to 0.32 s, but
    never past the end of the block of audio that the step is in: an audio token depends on no later block.

    Args:
        width (`int`): channels.
        frames_per_step (`int`): log-mel frames from one step to the next.
        steps_per_block (`int` or `None`): steps in one block of audio; `None` = the whole clip is one block.
    """

    past_frames = 48
    future_frames = 32

    def __init__(self, width: int, frames_per_step: int, steps_per_block: int | None):
        super().__init__()
        self.past_steps = self.past_frames // frames_per_step
        self.future_steps = self.future_frames // frames_per_step
        self.steps_per_block = steps_per_block
        self.mix_norm = nn.LayerNorm(width)
        self.value = nn.Linear(width, width)
        self.kernel = nn.Conv1d(width, width, self.past_steps + 1 + self.future_steps, groups=width, bias=False)
        self.output = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, 4 * width)
        self.reduce = nn.Linear(4 * width, width)

    def forward(
        self, states: torch.Tensor, step_mask: torch.Tensor, past: ConvolutionPast | None = None
    ) -> torch.Tensor:
        """`(num_audios, steps, width)` in and out; steps outside `step_mask`, `(num_audios, steps)`, are seen by no other."""
        values = self.value(self.mix_norm(states)) * step_mask.unsqueeze(-1).to(states.dtype)
        states = states + self.output(self._mix(values, past))
        return states + self.reduce(nn.functional.gelu(self.expand(self.norm(states))))

    @torch.no_grad()
    def init_from_teacher(self, layer: nn.Module, kernels: torch.Tensor) -> None:
        """Starts from a `WhisperEncoderLayer` whose heads attend by `kernels`, `(heads, past_steps + 1 + future_steps)`."""
        width, _, taps = self.kernel.weight.shape
        if kernels.shape != (layer.self_attn.num_heads, taps) or layer.fc1.out_features != self.expand.out_features:
            raise ValueError(
                f"A block of width {width} takes kernels of shape {(layer.self_attn.num_heads, taps)} and a teacher whose MLP "
                f"is {self.expand.out_features} wide; got {tuple(kernels.shape)} and {layer.fc1.out_features}."
            )
        for own, teachers in (
            (self.mix_norm, layer.self_attn_layer_norm),
            (self.value, layer.self_attn.v_proj),
            (self.output, layer.self_attn.out_proj),
            (self.norm, layer.final_layer_norm),
            (self.expand, layer.fc1),
            (self.reduce, layer.fc2),
        ):
            own.load_state_dict(teachers.state_dict())
        self.kernel.weight.copy_(kernels.repeat_interleave(width // len(kernels), dim=0).unsqueeze(1))

    def _mix(self, values: torch.Tensor, past: ConvolutionPast | None) -> torch.Tensor:
        num_audios, steps, _ = values.shape
        block = self.steps_per_block or steps
        num_blocks = -(-steps // block)
        padded = behind_past(self, values.transpose(1, 2), self.past_steps, past)
        padded = nn.functional.pad(padded, (0, num_blocks * block - steps))
        blocks = padded.unfold(2, block + self.past_steps, block).transpose(1, 2).flatten(0, 1)
        mixed = self.kernel(nn.functional.pad(blocks, (0, self.future_steps)))
        return mixed.unflatten(0, (num_audios, num_blocks)).transpose(2, 3).flatten(1, 2)[:, :steps]


class AuraAudioEmbedding(nn.Module):
    """Turns groups of `frames_per_token` log-mel frames into audio embeddings of the LLM's width.

    `conv`: Whisper's stem layout (two convolutions with GELU, the first over 3 frames, the second with a stride of
    `frames_per_step` over `frames_per_step + 1`; Whisper's own is 2), padded on the left
    only, so that an audio token depends on no later frame; `conv_blocks` residual convolutions, causal too
    ([`CausalConvBlock`]) or within a block of audio ([`KernelConvBlock`], with a learned offset before and a LayerNorm
    behind them); then the `frames_per_token / frames_per_step` outputs side by side -> Linear -> RMSNorm with a learned gain.
    `linear`: the frames side by side -> Linear -> RMSNorm.

    Args:
        config ([`AuraAudioConfig`]): what an audio token sees.
        hidden_size (`int`): width of the LLM.
    """

    def __init__(self, config: AuraAudioConfig, hidden_size: int):
        super().__init__()
        self.frames_per_token = config.frames_per_token
        self.frames_per_step = step = config.frames_per_step
        self.num_mel_bins = config.num_mel_bins
        self.conv1: nn.Conv1d | None = None
        self.conv2: nn.Conv1d | None = None
        if config.patch_embedding == "conv":
            self.conv1 = nn.Conv1d(config.num_mel_bins, config.conv_width, kernel_size=3)
            self.conv2 = nn.Conv1d(config.conv_width, config.conv_width, kernel_size=step + 1, stride=step)
            patch_size = config.conv_width * (config.frames_per_token // step)
        else:
            patch_size = config.num_mel_bins * config.frames_per_token
        self.blocks: nn.ModuleList
        self.offset: nn.Parameter | None = None
        self.blocks_norm: nn.LayerNorm | None = None
        if config.conv_block_type == "kernel" and config.conv_blocks:
            steps = (
                None if config.tokens_per_block is None else config.tokens_per_block * config.frames_per_token // step
            )
            self.blocks = nn.ModuleList(
                KernelConvBlock(config.conv_width, step, steps) for _ in range(config.conv_blocks)
            )
            self.offset = nn.Parameter(torch.zeros(config.conv_width))
            self.blocks_norm = nn.LayerNorm(config.conv_width)
        else:
            self.blocks = nn.ModuleList(
                CausalConvBlock(config.conv_width, config.rms_norm_eps) for _ in range(config.conv_blocks)
            )
        self.proj = nn.Linear(patch_size, hidden_size)
        self.norm = nn.RMSNorm(hidden_size, eps=config.rms_norm_eps)
        looks_ahead = self.offset is not None
        self.tokens_per_part: int | None = config.tokens_per_block if looks_ahead else 1
        """A clip can be embedded in parts of so many audio tokens, or of a multiple of that; `None` = only as a whole."""

    def forward(
        self,
        input_features: torch.Tensor,
        input_features_mask: torch.Tensor,
        hidden_states: list[torch.Tensor] | None = None,
        past: ConvolutionPast | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """
        A long clip is embedded in parts, unless its hidden states are asked for, and so is a clip that has not ended: with the `past` of the parts
        before it, a part is embedded as it is within the clip.

        Args:
            input_features (`torch.FloatTensor` of shape `(num_audios, num_frames, num_mel_bins)`): log-mel frames,
                padded on the right.
            input_features_mask (`torch.BoolTensor` of shape `(num_audios, num_frames)`): `True` = a real frame.
            hidden_states (`list`, *optional*): gets the states after the stem and after each residual convolution, of shape
                `(num_audios, steps, conv_width)`, and the audio embeddings last.
            past (`dict`, *optional*): what came before these frames, empty at the beginning; holds what the next ones need afterwards, if these
                were a multiple of `tokens_per_part`.

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
        if hidden_states is None and self.tokens_per_part is not None:
            frames_at_once = (
                max(TOKENS_AT_ONCE // self.tokens_per_part, 1) * self.tokens_per_part * self.frames_per_token
            )
            if num_frames > frames_at_once:
                past = {} if past is None else past
                parts = [
                    self(frames, mask, past=past)
                    for frames, mask in zip(
                        input_features.split(frames_at_once, dim=1),
                        input_features_mask.split(frames_at_once, dim=1),
                        strict=True,
                    )
                ]
                embeddings, token_masks = zip(*parts, strict=True)
                return torch.cat(embeddings, dim=1), torch.cat(token_masks, dim=1)
        # The last patch of a clip may be partial: what follows the clip is zero, whatever the features were padded with,
        # so that a clip is embedded alike alone and in a batch.
        frames = input_features.to(self.proj.weight.dtype) * input_features_mask.unsqueeze(-1)
        num_tokens = num_audio_tokens(num_frames, self.frames_per_token)
        frames = nn.functional.pad(frames, (0, 0, 0, num_tokens * self.frames_per_token - num_frames))
        if self.conv1 is not None and self.conv2 is not None:
            states = frames.transpose(1, 2)
            states = nn.functional.gelu(self.conv1(behind_past(self.conv1, states, 2, past)))
            states = nn.functional.gelu(self.conv2(behind_past(self.conv2, states, 1, past)))
            frames = states.transpose(1, 2)
            if hidden_states is not None:
                hidden_states.append(frames)
        if self.blocks:
            frames = self._through_blocks(frames, input_features_mask, hidden_states, past)
        embeddings = self.norm(self.proj(frames.reshape(num_audios, num_tokens, -1)))
        if hidden_states is not None:
            hidden_states.append(embeddings)
        clip_tokens = num_audio_tokens(input_features_mask.sum(-1), self.frames_per_token)
        token_mask = torch.arange(num_tokens, device=embeddings.device) < clip_tokens.unsqueeze(-1)
        return embeddings, token_mask

    def _through_blocks(
        self,
        states: torch.Tensor,
        frame_mask: torch.Tensor,
        hidden_states: list[torch.Tensor] | None,
        past: ConvolutionPast | None,
    ) -> torch.Tensor:
        step_mask = torch.arange(states.shape[1], device=states.device) * self.frames_per_step < frame_mask.sum(
            -1, keepdim=True
        )
        if self.offset is not None:
            states = states + self.offset
        for block in self.blocks:
            states = block(states, step_mask, past)
            if hidden_states is not None:
                hidden_states.append(states)
        return states if self.blocks_norm is None else self.blocks_norm(states)

    @torch.no_grad()
    def init_from_teacher(self, encoder: nn.Module, attention_kernels: torch.Tensor | None = None) -> None:
        """Starts the convolutions from a Whisper encoder of the same width and mel bins.

        The stem's convolutions are the teacher's. Kernel blocks are its first layers, with its final norm behind them; the
        mean of its position embeddings over 4 s becomes the offset before them. Where a step is longer than the teacher's, it
        starts as the mean of the teacher's.

        Args:
            encoder: a `WhisperEncoder`.
            attention_kernels (`(layers, heads, 41)`): its heads' mean attention by distance in time, from 24 of its states
                back (`KernelConvBlock.past_frames`) to 16 ahead. Needed for kernel blocks, and for nothing else.

        Raises:
            ValueError: the patch embedding is linear, its shapes differ from the teacher's, or the kernels are missing.
        """
        if self.conv1 is None or self.conv2 is None:
            raise ValueError('Only `patch_embedding="conv"` can start from a teacher.')
        if self.frames_per_step % TEACHER_FRAMES_PER_STEP:
            raise ValueError(
                f"A teacher makes a state of {TEACHER_FRAMES_PER_STEP} frames, and the student starts from means of them: `frames_per_step` must be a "
                f"multiple of that, got {self.frames_per_step}."
            )
        if self.conv1.weight.shape != encoder.conv1.weight.shape:
            raise ValueError(
                f"The teacher's stem has {encoder.conv1.in_channels} mel bins and width {encoder.conv1.out_channels}, the "
                f"student's {self.conv1.in_channels} and {self.conv1.out_channels}. Build the student with "
                f"`num_mel_bins={encoder.conv1.in_channels}, conv_width={encoder.conv1.out_channels}`."
            )
        states_per_step = self.frames_per_step // TEACHER_FRAMES_PER_STEP
        self.conv1.load_state_dict(encoder.conv1.state_dict())
        self.conv2.weight.copy_(mean_of_strides(encoder.conv2.weight, TEACHER_FRAMES_PER_STEP, states_per_step))
        self.conv2.bias.copy_(encoder.conv2.bias)
        if self.offset is None or self.blocks_norm is None:
            return
        if len(self.blocks) > len(encoder.layers):
            raise ValueError(
                f"The teacher has {len(encoder.layers)} layers, fewer than `conv_blocks={len(self.blocks)}`."
            )
        if attention_kernels is None:
            raise ValueError("Kernel blocks start from the teacher's mean attention: pass `attention_kernels`.")
        self.offset.copy_(encoder.embed_positions.weight[:_OFFSET_STATES].mean(0))
        self.blocks_norm.load_state_dict(encoder.layer_norm.state_dict())
        past_states = KernelConvBlock.past_frames // TEACHER_FRAMES_PER_STEP
        for block, layer, kernels in zip(self.blocks, encoder.layers, attention_kernels, strict=False):
            block.init_from_teacher(layer, kernel_over_means(kernels, past_states, states_per_step))


def mean_of_strides(weight: torch.Tensor, stride: int, count: int) -> torch.Tensor:
    """Weight of one convolution that gives the mean of `count` outputs in a row of another, whose stride is `stride`.

    Args:
        weight (`(out_channels, in_channels, taps)`): of the other convolution.

    Returns:
        a new tensor of shape `(out_channels, in_channels, taps + (count - 1) * stride)`.
    """
    taps = weight.shape[-1]
    mean = weight.new_zeros(*weight.shape[:-1], taps + (count - 1) * stride)
    for number in range(count):
        mean[..., number * stride : number * stride + taps] += weight / count
    return mean


def kernel_over_means(kernel: torch.Tensor, past_steps: int, count: int) -> torch.Tensor:
    """A kernel over steps as one over means of `count` steps in a row, from means to means.

    Args:
        kernel (`(..., past_steps + 1 + future_steps)`): weights by distance, from `past_steps` back.

    Returns:
        a new tensor of shape `(..., past_steps // count + 1 + future_steps // count)`.
    """
    future_steps = kernel.shape[-1] - past_steps - 1
    distances = range(-(past_steps // count), future_steps // count + 1)
    means = kernel.new_zeros(*kernel.shape[:-1], len(distances))
    for place, distance in enumerate(distances):
        for first in range(count):
            for second in range(count):
                tap = past_steps + distance * count + second - first
                if 0 <= tap < kernel.shape[-1]:
                    means[..., place] += kernel[..., tap] / count
    return means
