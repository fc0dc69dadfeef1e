"""The audio token: the text and id that mark an audio position, and how many positions a clip takes."""

from __future__ import annotations

from typing import TypeVar

import torch
from transformers import AddedToken, PreTrainedTokenizerBase


AUDIO_TOKEN = "<|audio|>"
"""Text that marks the place of an audio; a special token of the processor's tokenizer."""

FrameCount = TypeVar("FrameCount", int, torch.Tensor)


def add_audio_token(tokenizer: PreTrainedTokenizerBase, audio_token: str = AUDIO_TOKEN) -> int:
    """Make `audio_token` a special token of `tokenizer` (unless it is one) and return its id.

    A new token's id may lie beyond the LLM's embedding: AuRA replaces it before the lookup, so the embedding is not
    resized.
    """
    tokenizer.add_tokens([AddedToken(audio_token, special=True, normalized=False)], special_tokens=True)
    return int(tokenizer.convert_tokens_to_ids(audio_token))


def num_audio_tokens(num_frames: FrameCount, frames_per_token: int) -> FrameCount:
    """Number of audio positions that `num_frames` log-mel frames take in the LLM's sequence.

    The one function that decides it: the processor writes this many placeholders, the model makes this many embeddings.

    Args:
        num_frames (`int` or `torch.LongTensor` of any shape): log-mel frames (100 a second at the default hop).
        frames_per_token (`int`): frames that share one audio token.

    Returns:
        `ceil(num_frames / frames_per_token)`, of the type and shape of `num_frames`.
    """
    return (num_frames + frames_per_token - 1) // frames_per_token


def clips_of_rows(clip_tokens: torch.Tensor, row_tokens: torch.Tensor) -> torch.Tensor:
    """Row that each clip of a batch belongs to.

    Args:
        clip_tokens (`(num_audios,)`): audio tokens of each clip, in reading order.
        row_tokens (`(batch,)`): audio positions of each row.

    Returns:
        `torch.LongTensor` of shape `(num_audios,)`.
    """
    return torch.searchsorted(row_tokens.cumsum(0), clip_tokens.cumsum(0))
