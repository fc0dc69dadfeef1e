"""Base LLM + adapter merged into one plain checkpoint."""

from __future__ import annotations

import copy
from typing import Any, TypeVar

from transformers import PreTrainedModel
from transformers.initialization import no_init_weights

from .adapter import ADAPTER_NAME, lora_layers, merged_weight, other_adapters, without_lora_name
from .configuration_aura import AuraConfig


StudentT = TypeVar("StudentT", bound=PreTrainedModel)


def merge_student(student: StudentT) -> StudentT:
    """See [`AuraForSpeechQA.merge`]."""
    if not student.config.lora_rank:
        raise ValueError("This student has no LoRA to merge: it is a plain checkpoint already.")
    _check_scope(student.config)
    if others := other_adapters(student):
        raise ValueError(
            f"The student carries further adapters of PEFT ({', '.join(others)}). Take them off before merging (`peft_model.unload()`), and load "
            "them onto the merged checkpoint: their layers have the same names there."
        )
    layers = {name: layer for name, layer in lora_layers(student).items() if ADAPTER_NAME in layer.lora_A}
    weights = {}
    for key, value in student.state_dict().items():
        if ".lora_" in key or "subword_ctc_head." in key or "character_ctc_head." in key:
            continue
        layer_name = key.rpartition(".base_layer.")[0]
        weights[without_lora_name(key)] = (
            merged_weight(layers[layer_name], layer_name)
            if layer_name in layers and key.endswith(".base_layer.weight")
            else value.detach()
        )
    with no_init_weights():
        merged = type(student)._from_config(_plain(student.config), dtype=student.dtype)
    merged.load_state_dict(weights)  # copies
    merged.tie_weights()
    merged.generation_config = copy.deepcopy(student.generation_config)
    return merged.to(student.device).eval()


def merge_into_weights(student: Any) -> None:
    """Merges a student's LoRA into the weights of its LLM, in place, one weight at a time; see `merge_lora` of [`AuraForSpeechQA.from_pretrained`].

    LoRA's own weights stay: they are what is saved, and what is taken away where LoRA does not act.

    Raises:
        ValueError: the base is quantised, or LoRA acts on audio positions only.
    """
    if not student.config.lora_rank:
        return  # a plain checkpoint, merged already
    _check_scope(student.config)
    layers = {name: layer for name, layer in lora_layers(student).items() if ADAPTER_NAME in layer.lora_A}
    for name, layer in layers.items():
        layer.get_base_layer().weight.data = merged_weight(layer, name)
        layer.lora_A[ADAPTER_NAME].student_is_merged = True
        for branch in (layer.lora_A, layer.lora_B):
            branch[ADAPTER_NAME].requires_grad_(False)
    student.audio_language_model.lora_is_merged = True


def _check_scope(config: AuraConfig) -> None:
    if config.lora_scope == "audio":
        raise ValueError(
            'A student whose LoRA acts on audio positions only (`lora_scope="audio"`) cannot be merged: merged weights '
            'act on every position. Train with `lora_scope="rows"` or `"always"` for a student to be merged.'
        )


def _plain(config: AuraConfig) -> AuraConfig:
    """The same student as one full checkpoint: no base elsewhere, no LoRA, no heads (which no serving engine knows)."""
    plain = copy.deepcopy(config)
    plain.subword_ctc_layer = plain.character_ctc_alphabet = plain.decoding_config = None
    plain.answer_from = "audio"
    plain.base_model = plain.base_revision = plain.base_gguf_file = plain.base_fingerprint = None
    plain.lora_rank = 0
    return plain
