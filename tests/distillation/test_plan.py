"""The paper's recipe on the meta device: what it trains, what it publishes, what it needs."""

import pytest
import torch
from transformers import Qwen2Config, WhisperConfig

from transformers_aura.distillation.plan import plan_training
from transformers_aura.distillation.recipe import load_recipe, training_arguments


# Qwen2.5-7B-Instruct and Whisper large-v3, as their own config.json files have them.
QWEN = Qwen2Config(
    vocab_size=152064,
    hidden_size=3584,
    intermediate_size=18944,
    num_hidden_layers=28,
    num_attention_heads=28,
    num_key_value_heads=4,
    max_position_embeddings=32768,
    rms_norm_eps=1e-6,
    tie_word_embeddings=False,
    dtype=torch.bfloat16,
)
WHISPER = WhisperConfig(
    num_mel_bins=128,
    d_model=1280,
    encoder_layers=32,
    encoder_attention_heads=20,
    encoder_ffn_dim=5120,
)


def test_paper_recipe_on_the_meta_device() -> None:
    # No GPU here: what the recipe says of precision is checked below.
    recipe = load_recipe("qwen2.5-7b-paper", ["training.bf16=false", "training.use_cpu=true"])
    assert load_recipe("qwen2.5-7b-paper").training["bf16"] is True
    arguments = training_arguments(recipe)
    plan = plan_training(recipe, arguments, QWEN, WHISPER)

    assert plan.num_base_parameters == 7_615_616_512
    rank, layers = 128, 20
    kv = 4 * 128
    attention = 2 * (3584 + 3584) + 2 * (3584 + kv)
    mlp = 3 * (3584 + 18944)
    lora = layers * rank * (attention + mlp)
    stem = (128 * 1280 * 3 + 1280) + (1280 * 1280 * 3 + 1280)
    projection = 1280 * 4 * 3584 + 3584 + 3584
    assert plan.num_trained_parameters == lora + stem + projection == 254_453_248
    assert plan.num_head_parameters == layers * (3584 + 3584 * 1280 + 1280)  # shallow: layer i from layer i
    assert plan.num_teacher_parameters == 636_968_960
    assert plan.pushed_bytes == 2 * plan.num_trained_parameters
    assert plan.pushed_bytes < 0.04 * 2 * plan.num_base_parameters
    assert sum(plan.memory_bytes.values()) < 40e9  # of the 80 GB that the recipe names; the rest is for activations

    shapes = {name: tuple(value.shape) for name, value in plan.student.named_parameters() if value.requires_grad}
    assert all(value.is_meta and value.dtype == torch.bfloat16 for value in plan.student.parameters())
    layer = "model.language_model.layers.{}.mlp.down_proj.lora_{}.aura.weight"
    assert shapes[layer.format(19, "A")] == (128, 18944)
    assert shapes[layer.format(19, "B")] == (3584, 128)
    assert layer.format(20, "A") not in shapes
    assert shapes["model.embed_audio.proj.weight"] == (3584, 5120)


def test_smollm2_recipe_fits_its_teacher() -> None:
    from transformers import LlamaConfig

    recipe = load_recipe("smollm2-135m-quick")
    smollm2 = LlamaConfig(
        vocab_size=49152,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        tie_word_embeddings=True,
    )
    tiny_en = WhisperConfig(
        num_mel_bins=80, d_model=384, encoder_layers=4, encoder_attention_heads=6, encoder_ffn_dim=1536
    )
    plan = plan_training(recipe, training_arguments(recipe), smollm2, tiny_en)
    assert plan.num_base_parameters == 134_515_008
    assert plan.num_trained_parameters == pytest.approx(13.5e6, rel=0.2)
    assert plan.student.config.audio_config.conv_width == tiny_en.d_model
    assert plan.student.config.audio_config.num_mel_bins == tiny_en.num_mel_bins


def test_without_distillation_there_is_no_teacher() -> None:
    recipe = load_recipe("smollm2-135m-quick", ["losses.supervision=transcript", "losses.distillation_warmup_steps=0"])
    config = Qwen2Config(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=24,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    plan = plan_training(recipe, training_arguments(recipe), config, WHISPER)
    assert (plan.num_teacher_parameters, plan.num_head_parameters) == (0, 0)
