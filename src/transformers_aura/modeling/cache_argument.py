"""What the code needs to know of caches: the name under which the installed `transformers` hands them over (`cache` since 5.24, `past_key_values` before),
and what an LLM's own holds."""

from __future__ import annotations

import inspect
import warnings

from transformers import Cache, DynamicCache, GenerationMixin, PreTrainedConfig
from transformers.cache_utils import DynamicLayer


CACHE_ARGUMENT = (
    "cache"
    if "cache" in inspect.signature(GenerationMixin.prepare_inputs_for_generation).parameters
    else "past_key_values"
)
"""The keyword of every `forward`, of `generate`, and the field of every output."""

STARTS_EMPTY = ("cache_implementation", "assistant_model", "prompt_lookup_num_tokens", "prefill_chunk_size")
"""Settings with which `generate` makes an empty cache of its own, and does not go on from keys and values that are there."""


def one_cache(cache: Cache | None, past_key_values: Cache | None) -> Cache | None:
    """The cache that the caller passed, under either name; the older one warns where the installed release does.

    Raises:
        ValueError: both were passed.
    """
    if cache is not None and past_key_values is not None:
        raise ValueError("`cache` and `past_key_values` are two names of one argument: pass one.")
    if past_key_values is None:
        return cache
    if CACHE_ARGUMENT != "past_key_values":
        warnings.warn("`past_key_values` is deprecated: pass `cache` instead.", FutureWarning, stacklevel=3)
    return past_key_values


def caches_every_token(text_config: PreTrainedConfig) -> bool:
    """Whether the cache of an LLM has keys and values of each token in each layer: no sliding window drops them, no layer sums them up in a state."""
    return all(type(layer) is DynamicLayer for layer in DynamicCache(config=text_config).layers)
