"""Which student layer learns from which teacher layer, and which teacher states belong to which audio token.

Pure functions: no model, no state, no randomness.

Clocks. The student reads log-mel frames, 100 a second. A Whisper encoder emits 50 states a second: its second convolution
has stride 2, so state `s` stands for mel frames `2 * s` and `2 * s + 1`. Audio token `k` of the student stands for frames
`k * frames_per_token` up to, not including, `(k + 1) * frames_per_token`. A clip of `n` real frames has `ceil(n / 2)` real
states and `ceil(n / frames_per_token)` audio tokens; the last of each may be covered by real frames only in part.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias, get_args

import torch

from ..processing.audio_tokens import FrameCount, num_audio_tokens


FRAMES_PER_TEACHER_STATE = 2
"""Mel frames (10 ms each) behind one state of a Whisper encoder."""

LayerMappingName: TypeAlias = Literal["uniform", "shallow", "last"]
LayerPair: TypeAlias = tuple[int, int]
LayerMapping: TypeAlias = LayerMappingName | Sequence[LayerPair]
TimeAlignment: TypeAlias = Literal["mean", "interpolate"]

LAYER_MAPPINGS: tuple[str, ...] = get_args(LayerMappingName)
TIME_ALIGNMENTS: tuple[str, ...] = get_args(TimeAlignment)


def map_layers(
    mapping: LayerMapping,
    *,
    num_student_layers: int,
    num_teacher_layers: int,
    num_decoder_layers: int | None = None,
) -> list[LayerPair]:
    """Pairs of (student layer, teacher layer), both 0-based, sorted by student layer.

    Student layer `i` means the output of decoder layer `i`; teacher layer `j` the output of encoder layer `j`, the last one
    after the encoder's closing layer norm (what Whisper's own decoder reads).

    Args:
        mapping:
            - `"uniform"` (the project's default): `min(num_student_layers, num_teacher_layers)` pairs spread evenly over the
              depth of both; the deepest pair is always (last student layer, last teacher layer). 20 student layers and 4
              teacher layers give (4, 0), (9, 1), (14, 2), (19, 3).
            - `"shallow"`: layer `i` learns from layer `i` (VoRA's choice, arXiv 2503.20680).
            - `"last"`: the last layers of the student learn from the last layers of the teacher, one to one.
            - a sequence of (student, teacher) pairs, for anything else. Student layer -1 is the audio patch embedding.
        num_student_layers: decoder layers that carry a LoRA: the layers the named mappings spread over.
        num_teacher_layers: encoder layers of the teacher.
        num_decoder_layers: all decoder layers of the student, the limit for explicit pairs. Defaults to
            `num_student_layers`.

    Raises:
        ValueError: for an unknown name, an empty list, a pair that is not two integers, a layer that does not exist, or a
            pair given twice.

    Example:
        >>> map_layers("uniform", num_student_layers=6, num_teacher_layers=3)
        [(1, 0), (3, 1), (5, 2)]
    """
    if num_student_layers < 1 or num_teacher_layers < 1:
        raise ValueError(
            f"Distillation needs at least one student layer and one teacher layer, got {num_student_layers} and "
            f"{num_teacher_layers}. A student with `lora_num_layers=0` has nothing to align."
        )
    if isinstance(mapping, str):
        num_pairs = min(num_student_layers, num_teacher_layers)
        if mapping == "uniform":
            return [
                ((i + 1) * num_student_layers // num_pairs - 1, (i + 1) * num_teacher_layers // num_pairs - 1)
                for i in range(num_pairs)
            ]
        if mapping == "shallow":
            return [(i, i) for i in range(num_pairs)]
        if mapping == "last":
            return [(num_student_layers - num_pairs + i, num_teacher_layers - num_pairs + i) for i in range(num_pairs)]
        raise ValueError(
            f"`layer_mapping={mapping!r}` is not known. Use one of {', '.join(LAYER_MAPPINGS)}, or a list of "
            "(student layer, teacher layer) pairs, counted from 0."
        )

    limit = num_student_layers if num_decoder_layers is None else num_decoder_layers
    pairs: list[LayerPair] = []
    for pair in mapping:
        if len(pair) != 2 or not all(isinstance(index, int) and not isinstance(index, bool) for index in pair):
            raise ValueError(
                f"`layer_mapping` holds {pair!r}; each entry is a pair of integers (student layer, teacher layer)."
            )
        student, teacher = pair
        if not -1 <= student < limit:
            raise ValueError(
                f"`layer_mapping` holds the pair {(student, teacher)}, but the student has decoder layers 0 to {limit - 1} "
                "(and -1, the audio patch embedding)."
            )
        if not 0 <= teacher < num_teacher_layers:
            raise ValueError(
                f"`layer_mapping` holds the pair {(student, teacher)}, but the teacher has encoder layers 0 to "
                f"{num_teacher_layers - 1}."
            )
        if (student, teacher) in pairs:
            raise ValueError(f"`layer_mapping` holds the pair {(student, teacher)} twice.")
        pairs.append((student, teacher))
    if not pairs:
        raise ValueError("`layer_mapping` is an empty list; give at least one (student layer, teacher layer) pair.")
    return sorted(pairs)


def num_teacher_states(num_frames: FrameCount) -> FrameCount:
    """Real teacher states of a clip with `num_frames` real mel frames: `ceil(num_frames / 2)`."""
    return num_audio_tokens(num_frames, FRAMES_PER_TEACHER_STATE)


def pool_teacher_states(
    states: torch.Tensor, num_frames: torch.Tensor, frames_per_token: int, time_alignment: TimeAlignment = "mean"
) -> tuple[torch.Tensor, torch.Tensor]:
    """Bring teacher states to the student's clock: one vector for each audio token.

    - `"mean"`: the mean of the real states in the token's window. A state that straddles two windows (odd
      `frames_per_token`) counts in each by its share of frames. The window at the end of a clip averages only the real
      states in it.
    - `"interpolate"`: the state at the centre of the token's window, linear between its two neighbours; beyond the centre
      of the first or last real state that state itself. The centre of the last window is the centre of its real frames.

    Whatever stands in `states` behind a clip's last real state, NaN included, has no influence.

    Args:
        states (`torch.Tensor` of shape `(batch, states, width)`): teacher states, 50 a second, right padded.
        num_frames (`torch.LongTensor` of shape `(batch,)`): real mel frames of each clip, 100 a second.
        frames_per_token: mel frames of one audio token.
        time_alignment: `"mean"` or `"interpolate"`.

    Returns:
        `torch.Tensor` of shape `(batch, audio_tokens, width)`, zero at padding, and `torch.BoolTensor` of shape
        `(batch, audio_tokens)`, `True` = real audio token; `audio_tokens` is that of the longest clip.

    Raises:
        ValueError: for an unknown `time_alignment`, or fewer states than the clips' frames need.
    """
    if time_alignment not in TIME_ALIGNMENTS:
        raise ValueError(f"`time_alignment={time_alignment!r}` is not known; use one of {', '.join(TIME_ALIGNMENTS)}.")
    num_states = num_teacher_states(num_frames)
    longest = int(num_frames.max()) if num_frames.numel() else 0
    if num_teacher_states(longest) > states.shape[1]:
        raise ValueError(
            f"A clip of {longest} mel frames has {num_teacher_states(longest)} teacher states, but only "
            f"{states.shape[1]} were given. Did the teacher get the same audio as the student?"
        )
    num_tokens = num_audio_tokens(longest, frames_per_token)
    token_index = torch.arange(num_tokens, device=states.device)
    token_mask = token_index < num_audio_tokens(num_frames, frames_per_token)[:, None]
    state_mask = torch.arange(states.shape[1], device=states.device) < num_states[:, None]
    states = states.masked_fill(~state_mask[..., None], 0.0)

    if time_alignment == "interpolate":
        window_end = torch.minimum((token_index + 1) * frames_per_token, num_frames[:, None])
        centre = (token_index * frames_per_token + window_end) / 2
        # State s stands for frames 2s and 2s + 1: its centre is frame time 2s + 1.
        position = ((centre - 1) / FRAMES_PER_TEACHER_STATE).clamp(min=0)
        position = torch.minimum(position, (num_states[:, None] - 1).clamp(min=0).to(position.dtype))
        lower = position.floor().long()
        upper = torch.minimum(lower + 1, (num_states[:, None] - 1).clamp(min=0))
        fraction = (position - lower)[..., None].to(states.dtype)
        width = states.shape[-1]
        pooled = torch.lerp(
            states.gather(1, lower[..., None].expand(-1, -1, width)),
            states.gather(1, upper[..., None].expand(-1, -1, width)),
            fraction,
        )
    else:
        # Count states, or for an odd window half states, so that every window holds whole units.
        if frames_per_token % FRAMES_PER_TEACHER_STATE:
            states = states.repeat_interleave(FRAMES_PER_TEACHER_STATE, dim=1)
            state_mask = state_mask.repeat_interleave(FRAMES_PER_TEACHER_STATE, dim=1)
            units_per_token = frames_per_token
        else:
            units_per_token = frames_per_token // FRAMES_PER_TEACHER_STATE
        needed = num_tokens * units_per_token
        missing = max(needed - states.shape[1], 0)
        states = torch.nn.functional.pad(states, (0, 0, 0, missing))[:, :needed]
        state_mask = torch.nn.functional.pad(state_mask, (0, missing))[:, :needed]
        total = states.reshape(states.shape[0], num_tokens, units_per_token, -1).sum(dim=2)
        count = state_mask.reshape(states.shape[0], num_tokens, units_per_token).sum(dim=2)
        pooled = total / count.clamp(min=1)[..., None]
    return pooled.masked_fill(~token_mask[..., None], 0.0), token_mask
