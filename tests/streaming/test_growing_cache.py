import copy

import pytest
import torch
from transformers import AutoConfig, DynamicCache

from transformers_aura.streaming.growing_cache import GrowingLayer, growing_cache


@pytest.mark.parametrize("family", ["qwen2", "gemma3_text"])
def test_it_holds_what_the_stock_cache_holds(family):
    """Whatever is done to it: more tokens, fewer, more rows, other rows, a copy."""
    config = AutoConfig.for_model(
        family, num_hidden_layers=7, num_attention_heads=2, num_key_value_heads=2, head_dim=4
    )
    torch.manual_seed(0)
    stock, growing = DynamicCache(config=config), growing_cache(config)
    assert any(isinstance(layer, GrowingLayer) for layer in growing.layers)

    def add(length, rows=1):
        for number in range(7):
            keys, values = torch.randn(2, rows, 2, length, 4)
            both = [cache.update(keys, values, number) for cache in (stock, growing)]
            for expected, found in zip(*both, strict=True):
                assert torch.equal(expected, found)
        assert stock.get_seq_length() == growing.get_seq_length()

    for length in (20, 1, 1, 300, 1):
        add(length)
    for cache in (stock, growing):
        cache.crop(-30)
    add(5)
    before = copy.deepcopy(growing)
    for cache in (stock, growing):
        cache.batch_repeat_interleave(3)
    add(1, rows=3)
    for cache in (stock, growing):
        cache.reorder_cache(torch.tensor([2, 0, 1]))
    add(400, rows=3)
    assert before.get_seq_length() == growing.get_seq_length() - 401
    assert torch.equal(before.layers[0].keys[0], growing.layers[0].keys[0, :, : before.get_seq_length()])


def test_a_token_more_copies_nothing():
    config = AutoConfig.for_model("qwen2", num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2)
    cache = growing_cache(config)
    one = torch.randn(1, 2, 1, 64)
    cache.update(torch.randn(1, 2, 30, 64), torch.randn(1, 2, 30, 64), 0)
    places = {cache.update(one, one, 0)[0].data_ptr() for _ in range(200)}
    assert len(places) == 1
