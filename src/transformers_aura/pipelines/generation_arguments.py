"""Arguments of `generate` that a pipeline is called with: which there are, and an error that names one that cannot be."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from transformers import GenerationConfig, GenerationMixin

from ..processing.arguments import described, real_number, switch, text, whole_number


_WHOLE_NUMBERS: dict[str, tuple[int, int | None]] = {
    "max_new_tokens": (1, None),
    "max_length": (1, None),
    "min_new_tokens": (0, None),
    "min_length": (0, None),
    "num_beams": (1, 1_000),
    "num_return_sequences": (1, 10_000),
    "top_k": (0, None),
    "no_repeat_ngram_size": (0, None),
    "encoder_no_repeat_ngram_size": (0, None),
    "prompt_lookup_num_tokens": (1, None),
    "max_matching_ngram_size": (1, None),
    "num_assistant_tokens": (1, None),
    "prefill_chunk_size": (1, None),
}
"""Their least and largest values."""

_NUMBERS: dict[str, dict[str, float]] = {
    "temperature": {"at_least": 0},
    "top_p": {"above": 0, "at_most": 1},
    "min_p": {"at_least": 0, "at_most": 1},
    "top_h": {"above": 0, "at_most": 1},
    "typical_p": {"above": 0, "at_most": 1},
    "epsilon_cutoff": {"at_least": 0, "at_most": 1},
    "eta_cutoff": {"at_least": 0, "at_most": 1},
    "repetition_penalty": {"above": 0},
    "encoder_repetition_penalty": {"above": 0},
    "diversity_penalty": {"at_least": 0},
    "length_penalty": {},
    "guidance_scale": {},
    "max_time": {"above": 0},
}

_TOKEN_IDS = (
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
    "suppress_tokens",
    "begin_suppress_tokens",
    "forced_bos_token_id",
    "forced_eos_token_id",
)
"""A list of ids; what ends in `_id` may be one id, too."""

_SWITCHES = (
    "do_sample",
    "use_cache",
    "renormalize_logits",
    "remove_invalid_values",
    "return_dict_in_generate",
    "output_scores",
    "output_logits",
    "output_attentions",
    "output_hidden_states",
    "token_healing",
)


def generate_keywords(model: GenerationMixin) -> frozenset[str]:
    """Every argument that `model.generate` takes besides the model's inputs."""
    settings = {name for name in vars(GenerationConfig()) if not name.startswith("_")} - {"transformers_version"}
    arguments = set(inspect.signature(model.generate).parameters) - {"inputs", "kwargs"}
    return frozenset(settings | arguments | {"tokenizer"})


def checked(given: Mapping[str, Any]) -> dict[str, Any]:
    """
    Arguments of `generate`, with numbers as Python's own.

    Raises:
        TypeError: a value of a wrong type.
        ValueError: a value out of range; of the settings of a `generation_config`, too.
    """
    result = dict(given)
    for name, value in given.items():
        if value is None:
            continue
        if name in _WHOLE_NUMBERS:
            result[name] = whole_number(name, value, *_WHOLE_NUMBERS[name])
        elif name in _NUMBERS:
            result[name] = real_number(name, value, **_NUMBERS[name])
        elif name in _SWITCHES:
            switch(name, value)
        elif name in _TOKEN_IDS:
            tokens = value.tolist() if isinstance(value, torch.Tensor) else value
            if not isinstance(tokens, (list, tuple)):
                tokens = [tokens] if name.endswith("_id") else None
            if tokens is None:
                raise TypeError(f"`{name}` must be a list of token ids, got {described(value)}.")
            for token in tokens:
                whole_number(name, token, -1 if name == "eos_token_id" else 0, 2**31)  # -1: no token ends the answer
        elif name == "stop_strings":
            strings = value if isinstance(value, (list, tuple)) else [value]
            if not strings or min(len(text(f"`{name}`", stop)) for stop in strings) == 0:
                raise ValueError(f"`{name}` must not be empty, got {described(value)}.")
        elif name == "generation_config":
            if not isinstance(value, GenerationConfig):
                raise TypeError(f"`generation_config` must be a GenerationConfig, got {described(value)}.")
            checked(value.to_diff_dict())
        elif isinstance(value, float):
            real_number(name, value)
    least, most = given.get("min_new_tokens") or 0, given.get("max_new_tokens")
    if most is not None and least > most:
        raise ValueError(f"`min_new_tokens` is {least}, more than `max_new_tokens`, which is {most}.")
    if given.get("do_sample") and given.get("temperature") == 0:
        raise ValueError(
            "`temperature` must be above 0 where `do_sample` is True. For the likeliest answer, leave both out."
        )
    return result


__all__ = ["checked", "generate_keywords"]
