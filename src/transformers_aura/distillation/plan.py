"""What a recipe amounts to, before any weight is loaded: parameters, bytes to publish, memory to train. On the meta device."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn
from transformers import AutoConfig, AutoModel, PreTrainedConfig, WhisperConfig
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from ..hub_access import explained
from ..modeling.configuration_aura import AuraAudioConfig, AuraConfig
from ..modeling.language_models import text_config_of
from ..modeling.modeling_aura import AuraForSpeechQA
from ..package_data import resolve_student
from .alignment import LayerMapping, map_layers
from .heads import DistillationHeads
from .objectives import default_objectives
from .recipe import Recipe
from .recipe_auto import load_teacher_config, with_model_values
from .recipe_student import add_heads
from .training_args import AuraTrainingArguments


@dataclass(frozen=True)
class TrainingPlan:
    """
    The size of a training run.

    Attributes:
        student (`AuraForSpeechQA`): the student on the meta device: shapes, no values.
        heads, encoder (`nn.Module` or `None`): distillation heads and teacher, where there are any, on the meta device too.
        num_base_parameters (`int`): frozen parameters of the base LLM, tied ones counted once.
        num_trained_parameters (`int`): LoRA, patch embedding and CTC heads: what is trained and published.
        num_head_parameters (`int`): distillation heads, trained and thrown away.
        num_teacher_parameters (`int`): the frozen encoder, or both.
        pushed_bytes (`int`): size of the published weights.
        memory_bytes (`dict[str, int]`): what a process of the training holds besides activations, by kind.
        gathered_bytes (`int`): of the base LLM's layers, all in all; where they are in shards, what a process gathers in a forward pass.
    """

    student: AuraForSpeechQA
    heads: nn.Module | None
    encoder: nn.Module | None
    num_base_parameters: int
    num_trained_parameters: int
    num_head_parameters: int
    num_teacher_parameters: int
    pushed_bytes: int
    memory_bytes: dict[str, int]
    gathered_bytes: int


def plan_training(
    recipe: Recipe,
    arguments: AuraTrainingArguments,
    text_config: PreTrainedConfig | None = None,
    teacher_config: WhisperConfig | None = None,
    num_shards: int = 1,
) -> TrainingPlan:
    """
    Size up a recipe.

    Args:
        recipe ([`Recipe`]): what to train.
        arguments ([`AuraTrainingArguments`]): of that recipe.
        text_config, teacher_config (*optional*): configurations of base LLM and teacher; read from where the recipe names them otherwise (only the
            configurations, not the weights). A student to continue from is planned as it is, unless `text_config` is given.
        num_shards (`int`): so many processes hold the base LLM's layers together (`fsdp`).
    """
    section = recipe.model
    if teacher_config is None:
        teacher_config = load_teacher_config(recipe)
    recipe = with_model_values(recipe, teacher_config)
    config = _config_of_student(recipe, text_config)
    dtype = _dtype(section.dtype or config.text_config.dtype)
    with torch.device("meta"):
        student = AuraForSpeechQA(config).to(dtype)
        if section.student is not None and text_config is None:
            add_heads(student, section)
        encoder = WhisperEncoder(teacher_config)
    num_trained = _count(parameter for parameter in student.parameters() if parameter.requires_grad)
    num_base = _count(parameter for parameter in student.parameters() if not parameter.requires_grad)
    heads: nn.Module | None = None
    if any(objective.needs_teacher for objective in default_objectives(arguments).values()):
        heads = _heads(
            student.config, arguments.parsed_layer_mapping, teacher_config.encoder_layers, teacher_config.d_model
        )
    num_heads, num_teacher = (
        (_count(heads.parameters()), _count(encoder.parameters())) if heads is not None else (0, 0)
    )
    teacher_bytes = num_teacher * _dtype(recipe.teacher.dtype).itemsize
    if (second := recipe.second_teacher) is not None:
        with explained(second.model, {"revision": second.revision}):
            second_config = AutoConfig.from_pretrained(second.model, revision=second.revision)
        with torch.device("meta"):
            num_second = _count(AutoModel.from_config(second_config).parameters())
        second_heads = _heads(
            student.config, second.parsed_layers, second_config.num_hidden_layers, second_config.hidden_size
        )
        num_teacher, num_heads = num_teacher + num_second, num_heads + _count(second_heads.parameters())
        teacher_bytes += num_second * _dtype(second.dtype).itemsize
    # What is trained is trained in float32: weights, their gradients and the two moments of AdamW.
    trained_bytes = (num_trained + num_heads) * torch.float32.itemsize
    layers = [_frozen_bytes(layer) for layer in student.model.language_model.layers]
    base_bytes = num_base * dtype.itemsize
    base: dict[str, int] = {"base model": base_bytes}
    if num_shards > 1:
        base = {
            f"base model, layers (1/{num_shards})": sum(layers) // num_shards,
            "base model, rest": base_bytes - sum(layers),
            "two gathered layers": 2 * max(layers),  # the one that runs, and the next
        }
    return TrainingPlan(
        student=student,
        heads=heads,
        encoder=None if heads is None else encoder,
        num_base_parameters=num_base,
        num_trained_parameters=num_trained,
        num_head_parameters=num_heads,
        num_teacher_parameters=num_teacher,
        pushed_bytes=num_trained * dtype.itemsize,
        memory_bytes={
            **base,
            "teacher": teacher_bytes,
            "trained weights": trained_bytes,
            "gradients": trained_bytes,
            "optimizer": 2 * trained_bytes,
        },
        gathered_bytes=sum(layers),
    )


def _config_of_student(recipe: Recipe, text_config: PreTrainedConfig | None) -> AuraConfig:
    section = recipe.model
    with explained(section.source, {"revision": section.revision}):
        if section.student is not None and text_config is None:
            return AuraConfig.from_pretrained(resolve_student(section.student))
        if text_config is None:
            source = {"gguf_file": section.gguf_file} if section.gguf_file is not None else {}
            text_config = text_config_of(
                AutoConfig.from_pretrained(section.base_model, revision=section.revision, **source)
            )
    return student_config(recipe, text_config)


def student_config(recipe: Recipe, text_config: PreTrainedConfig) -> AuraConfig:
    """The configuration of a recipe's student on a base LLM of `text_config`."""
    settings = recipe.model.student_settings()
    audio_names = {item.name for item in dataclasses.fields(AuraAudioConfig)}
    heads = ("character_ctc_alphabet", "subword_ctc_layer", "answer_from")
    own = {name: value for name, value in settings.items() if name.startswith("lora_") or name in heads}
    audio = {name: value for name, value in settings.items() if name in audio_names and name != "dtype"}
    return AuraConfig.from_text_audio_configs(
        text_config, AuraAudioConfig(**audio), base_model=recipe.model.base_model, **own
    )


def _heads(config: AuraConfig, layers: LayerMapping, num_teacher_layers: int, teacher_width: int) -> nn.Module:
    pairs = map_layers(
        layers,
        num_student_layers=config.lora_num_layers,
        num_teacher_layers=num_teacher_layers,
        num_decoder_layers=config.text_config.num_hidden_layers,
    )
    with torch.device("meta"):
        return DistillationHeads(pairs, config.text_config.hidden_size, teacher_width)


def _frozen_bytes(module: nn.Module) -> int:
    return sum(p.numel() * p.element_size() for p in module.parameters() if not p.requires_grad)


def _dtype(name: str | torch.dtype | None) -> torch.dtype:
    if isinstance(name, torch.dtype):
        return name
    return torch.float32 if name in (None, "auto") else getattr(torch, name)


def _count(parameters: Iterable[torch.Tensor]) -> int:
    return sum(parameter.numel() for parameter in parameters)
