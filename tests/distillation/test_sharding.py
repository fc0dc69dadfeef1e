"""A base LLM that cannot be sharded is an error; trainings with shards are in `tests_training/test_sharded_training.py`."""

import pytest
import torch
from torch import nn

from tests.support.tiny_models import tiny_language_model
from transformers_aura.distillation.sharding import check_can_be_sharded


def test_layers_of_another_class_than_was_asked_for():
    layers = tiny_language_model("qwen2").model.layers
    check_can_be_sharded(layers, ())
    check_can_be_sharded(layers, ("LlamaDecoderLayer", "Qwen2DecoderLayer"))
    with pytest.raises(
        ValueError, match=r"wrap LlamaDecoderLayer .*decoder layers of this base LLM are Qwen2DecoderLayer"
    ):
        check_can_be_sharded(layers, ("LlamaDecoderLayer",))


def test_quantised_layers():
    layers = tiny_language_model("qwen2").model.layers
    layers[1].mlp.up_proj.weight = nn.Parameter(torch.ones(48, 32, dtype=torch.int8), requires_grad=False)
    with pytest.raises(
        ValueError, match=r"1\.mlp\.up_proj\.weight is a Parameter of torch.int8.*without `quantization_config`"
    ):
        check_can_be_sharded(layers, ())
