"""How many tokens the base LLM takes, and an error for what is longer that says how much audio would fit."""

from __future__ import annotations

import math
from typing import Any

from transformers import PreTrainedConfig

from .configuration_aura import AuraConfig


def context_length(text_config: PreTrainedConfig) -> int | None:
    """Tokens that an LLM takes, prompt and answer together; `None` where its config does not say.

    A scaled rotary embedding takes more than `max_position_embeddings` says: where it does, by transformers' conventions.
    """
    limit = getattr(text_config, "max_position_embeddings", None)
    rope: dict[str, Any] = getattr(text_config, "rope_parameters", None) or {}
    factor = rope.get("factor") or 1.0  # Gemma's, one for each kind of layer, are within the limit already
    if limit is None:
        return None
    if rope.get("rope_type") in ("linear", "dynamic"):
        return int(limit * factor)
    return max(limit, int((rope.get("original_max_position_embeddings") or 0) * factor))


def check_context_length(config: AuraConfig, num_text: int, num_audio: int = 0, num_new: int = 0) -> None:
    """
    Raise where a request is longer than the LLM's context.

    Args:
        config: of the student.
        num_text, num_audio: tokens of the prompt.
        num_new: tokens that the answer may have.

    Raises:
        ValueError: with the seconds of audio that fit beside the text and the answer.
    """
    limit, tokens_per_second = context_length(config.text_config), config.audio_config.tokens_per_second
    if limit is None or num_text + num_audio + num_new <= limit:
        return
    parts = [f"{num_text} of text"]
    if num_audio:
        parts.append(f"{num_audio} of audio ({num_audio / tokens_per_second:.1f} s)")
    if num_new > 1:
        parts.append(f"up to {num_new} of the answer (`max_new_tokens`)")
    room = limit - num_text - num_new
    if not num_audio:
        advice = f"Shorten the text (question, context or history) by {-room} tokens."
    elif room > 0:
        advice = f"Beside text and answer, {_down(room / tokens_per_second)} s of audio fit: cut the recording, see `truncate_to_seconds`."
    else:
        alone = _down((limit - num_new) / tokens_per_second)
        advice = f"Beside this text no audio fits, and {alone} s without any: shorten the text (question, context or history)."
    raise ValueError(
        f"The request is too long for the LLM, which takes {limit} tokens: it has {', '.join(parts)}. {advice}"
    )


def _down(seconds: float) -> float:
    return max(math.floor(10 * seconds) / 10, 0.0)


__all__ = ["check_context_length", "context_length"]
