"""Keys and values in memory that is longer than they are: a token more is written behind them, where the stock cache copies all of them anew."""

from __future__ import annotations

from typing import Any

import torch
from transformers import DynamicCache, PreTrainedConfig
from transformers.cache_utils import DynamicLayer


_LEAST_ROOM = 256


class GrowingLayer(DynamicLayer):
    """[`DynamicLayer`] whose memory gets a quarter longer when it is full, and by 256 tokens at least."""

    keys: torch.Tensor
    values: torch.Tensor

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._memory: tuple[torch.Tensor, torch.Tensor] | None = None

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """As in [`DynamicLayer`]; what it returns is valid until the next update."""
        before = self.get_seq_length()
        if before == 0:
            return super().update(key_states, value_states, *args, **kwargs)
        length = before + key_states.shape[-2]
        if self._memory is None or not self._holds(self._memory[0], length):
            capacity = length + max(_LEAST_ROOM, length // 4)
            self._memory = _longer(self.keys, capacity), _longer(self.values, capacity)
        keys, values = self._memory
        keys[..., before:length, :] = key_states
        values[..., before:length, :] = value_states
        self.keys, self.values = keys[..., :length, :], values[..., :length, :]
        return self.keys, self.values

    def _holds(self, memory: torch.Tensor, length: int) -> bool:
        """Whether the memory is that of the present keys, which may have been replaced (by more rows, say), and long enough."""
        same = memory.data_ptr() == self.keys.data_ptr() and memory.shape[0] == self.keys.shape[0]
        return same and memory.shape[-2] >= length


def growing_cache(config: PreTrainedConfig) -> DynamicCache:
    """An empty cache for an LLM of this config; of its layers, those without a window grow in place."""
    cache = DynamicCache(config=config)
    cache.layers = [GrowingLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


def _longer(states: torch.Tensor, capacity: int) -> torch.Tensor:
    """`(batch, heads, length, head_dim)` at the beginning of as many, longer."""
    memory = states.new_empty(*states.shape[:-2], capacity, states.shape[-1])
    memory[..., : states.shape[-2], :] = states
    return memory


__all__ = ["GrowingLayer", "growing_cache"]
