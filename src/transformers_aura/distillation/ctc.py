"""Connectionist temporal classification: how probable a transcript is, and at which frame each of its symbols is spoken."""

from __future__ import annotations

import torch
from torch.nn import functional as F


def ctc_loss(
    logits: torch.Tensor, logit_lengths: torch.Tensor, targets: torch.Tensor, target_lengths: torch.Tensor
) -> torch.Tensor:
    """`-log p(transcript | logits)` of each clip, summed over all alignments, in nats (Graves et al., 2006). Computed in float32.

    Args:
        logits (`torch.FloatTensor` of shape `(clips, frames, symbols)`): symbol 0 is the blank; right padded.
        logit_lengths (`torch.LongTensor` of shape `(clips,)`): frames of each clip.
        targets (`torch.LongTensor` of shape `(clips, symbols)`): symbols 1 and up; right padded with anything.
        target_lengths (`torch.LongTensor` of shape `(clips,)`): symbols of each transcript.

    Returns:
        `torch.FloatTensor` of shape `(clips,)`; 0 for a clip without transcript, or too short for it.
    """
    if logits.shape[1] == 0:
        return logits.float().sum(dim=(1, 2))
    log_probabilities = F.log_softmax(logits.float(), dim=-1).transpose(0, 1)
    losses = F.ctc_loss(
        log_probabilities, targets, logit_lengths, target_lengths, blank=0, reduction="none", zero_infinity=True
    )
    return losses * (target_lengths > 0)


def has_path(logit_lengths: torch.Tensor, targets: torch.Tensor, target_lengths: torch.Tensor) -> torch.Tensor:
    """Whether each clip is long enough for its transcript: a step a symbol, and a blank between two that are the same.

    Args:
        logit_lengths, targets, target_lengths: as in [`ctc_loss`].

    Returns:
        `torch.BoolTensor` of shape `(clips,)`; `False` for a clip without transcript, from which there is nothing to learn.
    """
    in_transcript = torch.arange(1, max(targets.shape[1], 1), device=targets.device) < target_lengths[:, None]
    repeats = ((targets[:, 1:] == targets[:, :-1]) & in_transcript).sum(-1)
    return (target_lengths > 0) & (logit_lengths >= target_lengths + repeats)


def align_ctc(
    logits: torch.Tensor, logit_lengths: torch.Tensor, targets: torch.Tensor, target_lengths: torch.Tensor
) -> torch.Tensor:
    """The step of each target symbol on the most probable CTC path (Viterbi) that spells the targets.

    A symbol that the path holds for several steps gets the one where it is most probable.

    Args:
        logits (`torch.FloatTensor` of shape `(clips, steps, symbols)`): symbol 0 is the blank; right padded.
        logit_lengths (`torch.LongTensor` of shape `(clips,)`): steps of each clip.
        targets (`torch.LongTensor` of shape `(clips, tokens)`): symbols 1 and up; right padded with anything.
        target_lengths (`torch.LongTensor` of shape `(clips,)`): tokens of each transcript.

    Returns:
        `torch.LongTensor` of shape `(clips, tokens)`: steps; -1 in the padding, and in clips too short for their transcript.
    """
    log_probabilities = F.log_softmax(logits.detach().float(), dim=-1)
    num_clips, num_steps = logits.shape[:2]
    if targets.shape[1] == 0 or num_steps == 0:
        return torch.full_like(targets, -1)
    # States of the path: blank, first symbol, blank, second symbol, ..., blank.
    symbols = targets.new_zeros(num_clips, 2 * targets.shape[1] + 1)
    symbols[:, 1::2] = targets
    may_skip = torch.zeros_like(symbols, dtype=torch.bool)  # from symbol to symbol, unless they are the same
    may_skip[:, 3::2] = targets[:, 1:] != targets[:, :-1]
    emissions = log_probabilities.gather(-1, symbols[:, None].expand(-1, num_steps, -1))
    scores = torch.full_like(emissions[:, 0], -torch.inf)
    scores[:, :2] = emissions[:, 0, :2]
    came_from = []
    for step in range(1, num_steps):
        before = F.pad(scores, (2, 0), value=-torch.inf)
        skipping = before[:, :-2].masked_fill(~may_skip, -torch.inf)
        best, moved = torch.stack([scores, before[:, 1:-1], skipping]).max(dim=0)
        is_over = (step >= logit_lengths)[:, None]
        scores = torch.where(is_over, scores, best + emissions[:, step])
        came_from.append(moved.masked_fill(is_over, 0))

    last = (2 * target_lengths)[:, None]
    ends = scores.gather(1, torch.cat([last, (last - 1).clamp(min=0)], dim=1))
    state = last[:, 0] - (ends[:, 1] > ends[:, 0]).long()
    path = [state]
    for moved in reversed(came_from):
        state = state - moved.gather(1, state[:, None])[:, 0]
        path.append(state)
    steps = torch.stack(path[::-1], dim=1)
    steps = steps.masked_fill(torch.arange(num_steps, device=steps.device) >= logit_lengths[:, None], -1)
    on_path = steps[:, :, None] == torch.arange(1, symbols.shape[1], 2, device=steps.device)
    spoken_at = emissions[:, :, 1::2].masked_fill(~on_path, -torch.inf).argmax(dim=1)
    in_transcript = torch.arange(targets.shape[1], device=targets.device) < target_lengths[:, None]
    return spoken_at.masked_fill(~in_transcript | ~ends.max(dim=1, keepdim=True).values.isfinite(), -1)
