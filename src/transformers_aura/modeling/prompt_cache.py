"""What prompts begin with (a system message, the template up to the audio): its keys and values are kept from one call of `generate` to the next."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from transformers import DynamicCache

from .adapter import weights_and_adapters_state
from .cache_argument import CACHE_ARGUMENT, STARTS_EMPTY, caches_every_token


class PromptCache:
    """
    Keys and values of what prompts with audio begin with, up to their first audio position.

    The first request with a beginning computes it as it would anyway, and leaves it here; later ones go on from it. The tokens that are generated are the
    same. What was kept is dropped when the LLM's weights or adapters change. (Values that are written through `tensor.data` are not seen: call [`clear`].)
    Threads may share it.

    Args:
        model ([`AuraForSpeechQA`]): whose prompts they are.
        max_prompts: beginnings that are kept, those that were used last. One of 100 tokens takes 200 times the LLM's width of keys and values in each layer,
            or less where heads share them.

    Example:

    ```python
    >>> prompt_cache = PromptCache(model)
    >>> with prompt_cache.reused(inputs) as inputs:
    ...     tokens = model.generate(**inputs, max_new_tokens=40)
    ```
    """

    def __init__(self, model: Any, max_prompts: int = 8) -> None:
        if max_prompts < 1:
            raise ValueError(f"`max_prompts` must be 1 at least, got {max_prompts}.")
        self.model = model
        self.max_prompts = max_prompts
        self._lock = threading.Lock()
        self._state: Any = None
        self._kept: OrderedDict[tuple[int, ...], list[tuple[torch.Tensor, torch.Tensor]]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def clear(self) -> None:
        """Drops everything."""
        with self._lock:
            self._kept.clear()

    @contextmanager
    def reused(self, inputs: Mapping[str, Any], **settings: Any) -> Iterator[dict[str, Any]]:
        """
        Arguments of `generate` for these inputs that go on from what is kept. Afterwards their own beginning is kept.

        They are the inputs as they are where nothing can be kept or used: rows that do not begin alike or that are padded on the left, rows without audio,
        inputs with a cache of their own, settings with which `generate` makes another cache, an LLM with sliding windows or linear attention.

        Args:
            inputs: what the processor returned.
            settings: further arguments of `generate`, which are only read here.

        Returns:
            a context manager that gives the arguments of `generate`.
        """
        beginning = self._beginning(inputs, settings)
        if not beginning:
            yield dict(inputs)
            return
        state = self._current_state()
        num_rows = len(inputs["input_ids"]) * max(
            self._setting("num_beams", settings) or 1, self._setting("num_return_sequences", settings) or 1
        )
        with self._lock:
            if self._state != state:
                self._kept.clear()
                self._state = state
            kept = self._kept.get(beginning)
            if kept is not None:
                self._kept.move_to_end(beginning)
        cache = DynamicCache(config=self.model.config.text_config)
        for number, (keys, values) in enumerate(kept or ()):
            cache.update(keys.expand(num_rows, -1, -1, -1), values.expand(num_rows, -1, -1, -1), number)  # copies
        yield {**inputs, CACHE_ARGUMENT: cache}
        if kept is not None or cache.get_seq_length() < len(beginning):
            return
        columns = slice(0, len(beginning))
        made = [(layer.keys[:1, :, columns].clone(), layer.values[:1, :, columns].clone()) for layer in cache.layers]
        with self._lock:
            if self._state == state == self._current_state():
                self._kept[beginning] = made
                while len(self._kept) > self.max_prompts:
                    self._kept.popitem(last=False)

    def _beginning(self, inputs: Mapping[str, Any], settings: Mapping[str, Any]) -> tuple[int, ...]:
        """Token ids before the first audio position of every row; none where nothing can be kept."""
        own_cache = any(self._setting(name, settings) is not None for name in STARTS_EMPTY)
        if own_cache or self._setting("use_cache", settings) is False:
            return ()
        if {CACHE_ARGUMENT, "past_key_values", "inputs_embeds"} & inputs.keys() | {CACHE_ARGUMENT} & settings.keys():
            return ()
        if not caches_every_token(self.model.config.text_config):
            return ()
        positions = self.model.audio_positions_of(inputs)
        if positions is None or not bool(positions.any(-1).all()):
            return ()
        input_ids, mask = inputs["input_ids"], inputs.get("attention_mask")
        length = int(positions.int().argmax(-1).min())
        heads = input_ids[:, :length]
        is_padded = mask is not None and not bool(mask[:, :length].all())
        if is_padded or not bool((heads == heads[:1]).all()):
            return ()
        return tuple(heads[0].tolist())

    def _setting(self, name: str, settings: Mapping[str, Any]) -> Any:
        """What holds for a call: its arguments, before its generation config, before the model's."""
        if name in settings:
            return settings[name]
        generation_config = settings.get("generation_config") or self.model.generation_config
        return getattr(generation_config, name, None)

    def _current_state(self) -> Any:
        """Changes with the weights and adapters of the LLM, and with what LoRA does in it."""
        model, config = self.model.model, self.model.config
        state = weights_and_adapters_state(model.language_model)
        return state, config.lora_rank, config.lora_scope, model.lora_is_merged


__all__ = ["PromptCache"]
