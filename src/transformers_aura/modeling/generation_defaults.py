"""Arguments of `generate` for an answer, with what is missing: a limit of tokens, a padding token, a tokenizer for stop strings."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from transformers.utils import logging

from .context_length import context_length


logger = logging.get_logger(__name__)

DEFAULT_MAX_NEW_TOKENS = 256


def given_settings(model: Any, generate_kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """What holds for a call of `generate`: its arguments, before its generation config, before the model's."""
    given = dict(model.generation_config.to_diff_dict())
    generation_config = generate_kwargs.get("generation_config")
    if generation_config is not None:
        given.update(generation_config.to_diff_dict())
    return {**given, **generate_kwargs}


def with_generation_defaults(
    model: Any, tokenizer: Any, generate_kwargs: Mapping[str, Any], *, num_audio: int, num_tokens: int
) -> dict[str, Any]:
    """Arguments of `generate` with what is missing.

    Where nobody says, an answer has at most 256 tokens, or as many as the audio where that is more: what is said in a long recording fits in. With a
    warning it has fewer where the LLM's context ends.

    Args:
        model: the student.
        tokenizer: its tokenizer.
        generate_kwargs: of the caller.
        num_audio: most audio tokens of an input.
        num_tokens: tokens of the longest input.
    """
    generation_config = generate_kwargs.get("generation_config")
    given = given_settings(model, generate_kwargs)
    added: dict[str, Any] = {}
    if given.get("max_new_tokens") is None and given.get("max_length") is None:
        added["max_new_tokens"] = _default_length(model, num_audio, num_tokens)
    if given.get("pad_token_id") is None:
        added["pad_token_id"] = tokenizer.pad_token_id
    if generation_config is not None and added:
        generation_config = copy.deepcopy(generation_config)
        generation_config.update(**added)
        added = {"generation_config": generation_config}
    if given.get("stop_strings") is not None and "tokenizer" not in generate_kwargs:
        added["tokenizer"] = tokenizer
    return {**generate_kwargs, **added}


def limits_alone(model: Any, generate_kwargs: Mapping[str, Any], num_audio: Sequence[int]) -> list[int] | None:
    """Most tokens of the answer to each request of a batch where nobody says: as many as if it were asked alone. `None` where somebody does.

    Args:
        model: the student.
        generate_kwargs: of the caller.
        num_audio: audio tokens of each request.
    """
    given = given_settings(model, generate_kwargs)
    if given.get("max_new_tokens") is not None or given.get("max_length") is not None:
        return None
    return [max(DEFAULT_MAX_NEW_TOKENS, num_tokens) for num_tokens in num_audio]


def _default_length(model: Any, num_audio: int, num_tokens: int) -> int:
    """Most tokens of an answer where nobody says."""
    wanted, limit = max(DEFAULT_MAX_NEW_TOKENS, num_audio), context_length(model.config.text_config)
    if limit is None or num_tokens + wanted <= limit:
        return wanted
    room = max(limit - num_tokens, 1)
    logger.warning(
        f"The answer has at most {room} tokens, not {wanted}: the request takes {num_tokens} of the {limit} tokens that the LLM takes."
    )
    return room


__all__ = ["DEFAULT_MAX_NEW_TOKENS", "given_settings", "limits_alone", "with_generation_defaults"]
