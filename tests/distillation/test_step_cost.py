"""Operations and activations of a training step, counted on the meta device."""

import pytest
import torch
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from tests.distillation.support import tiny_whisper_config
from tests.support.tiny_models import tiny_language_model
from transformers_aura import AuraConfig, AuraForSpeechQA
from transformers_aura.distillation.heads import DistillationHeads
from transformers_aura.distillation.step_cost import StepRows, count_step
from transformers_aura.modeling.configuration_aura import AuraAudioConfig


ROWS = StepRows(count=3, seconds=0.8, prompt_tokens=5, answer_tokens=4)
LENGTH = 10 + 5 + 4


def counted(is_checkpointed: bool):
    text_config = tiny_language_model().config
    audio_config = AuraAudioConfig(conv_width=24)
    config = AuraConfig.from_text_audio_configs(
        text_config, audio_config, base_model="base", lora_rank=2, lora_num_layers=2
    )
    with torch.device("meta"):
        student = AuraForSpeechQA(config)
        heads = DistillationHeads([(0, 1)], text_config.hidden_size, 16)
        encoder = WhisperEncoder(tiny_whisper_config())
    return student, count_step(student, heads, encoder, ROWS, is_checkpointed)


def test_operations_are_those_of_the_matrices():
    student, cost = counted(is_checkpointed=True)
    layer = student.model.language_model.layers[2]  # without LoRA
    weights = sum(parameter.numel() for parameter in layer.parameters() if parameter.ndim == 2)
    attention = (
        2 * LENGTH * 32
    )  # scores, and what they weigh, for each token; both sides of these products have gradients
    tokens = ROWS.count * LENGTH
    head = 2 * 2 * ROWS.count * ROWS.answer_tokens * student.lm_head.weight.numel()
    assert cost.operations["base LLM"] == 3 * 2 * tokens * (3 * weights + 4 * attention) + head
    lora = sum(parameter.numel() for name, parameter in student.named_parameters() if ".lora_" in name)
    assert cost.operations["LoRA"] == 2 * tokens * 4 * lora
    assert cost.operations["distillation heads"] == 3 * 2 * ROWS.count * 10 * 32 * 16
    assert cost.operations.keys() == {"base LLM", "LoRA", "patch embedding", "distillation heads", "teacher"}


def test_checkpointing_trades_operations_for_memory():
    (_, with_it), (_, without) = counted(is_checkpointed=True), counted(is_checkpointed=False)
    assert with_it.activation_bytes < without.activation_bytes
    assert with_it.operations["base LLM"] > without.operations["base LLM"]
    for part in ("patch embedding", "distillation heads", "teacher"):
        assert with_it.operations[part] == pytest.approx(without.operations[part])
