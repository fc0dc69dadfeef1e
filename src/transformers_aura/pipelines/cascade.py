"""Answers from transcripts: what was written down takes the place of the audio in a chat, and the base LLM goes on from the keys and values that it has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from ..modeling.cache_argument import CACHE_ARGUMENT, STARTS_EMPTY
from ..modeling.rescoring import TextCache
from ..processing.conversation import AUDIO_PART_TYPES, Conversation


def with_transcripts(conversation: Conversation, transcripts: Sequence[str]) -> Conversation:
    """
    A chat with a text part in the place of every audio part.

    Args:
        conversation: messages, see [`AuraProcessor.apply_chat_template`].
        transcripts: of its audio parts, in reading order.
    """
    texts = iter(transcripts)
    written = []
    for message in conversation:
        content = message.get("content")
        if isinstance(content, (list, tuple)):
            parts = [
                {"type": "text", "text": next(texts)} if part.get("type") in AUDIO_PART_TYPES else part
                for part in content
            ]
            message = {**message, "content": parts}
        written.append(message)
    return written


def cached_prefix(
    input_ids: torch.Tensor, text_cache: TextCache | None, generation: Mapping[str, Any]
) -> dict[str, Any]:
    """
    Arguments of `generate` with which it goes on from the keys and values of a prompt's first tokens.

    Args:
        input_ids (`(1, seq)`): of the prompt.
        text_cache: of a text that the prompt may start with.
        generation: settings of the call, by name.

    Returns:
        nothing where there is nothing to go on from, or where the settings do not allow it.
    """
    needs_its_own = any(generation.get(name) is not None for name in STARTS_EMPTY)
    if text_cache is None or needs_its_own or generation.get("use_cache") is False:
        return {}
    cached = torch.tensor(text_cache.input_ids[: input_ids.shape[1] - 1], device=input_ids.device)
    same = int((input_ids[0, : len(cached)] == cached).cumprod(0).sum())
    if not same:
        return {}
    cache = text_cache.first(same)
    rows = max(generation.get("num_beams") or 1, generation.get("num_return_sequences") or 1)
    if rows > 1:
        cache.batch_repeat_interleave(rows)
    return {CACHE_ARGUMENT: cache}
