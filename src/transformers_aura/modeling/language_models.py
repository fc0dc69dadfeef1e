"""The LLM families that AuRA can sit on, each covered by a bit-exact parity test."""

from __future__ import annotations

from transformers import PreTrainedConfig


_ATTENTION_AND_MLP = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
_FUSED_ATTENTION_AND_MLP = ("qkv_proj", "o_proj", "gate_up_proj", "down_proj")

# model_type of the text config -> names of its attention and MLP projections
SUPPORTED_LANGUAGE_MODELS: dict[str, tuple[str, ...]] = {
    "qwen2": _ATTENTION_AND_MLP,
    "qwen3": _ATTENTION_AND_MLP,
    "llama": _ATTENTION_AND_MLP,
    "mistral": _ATTENTION_AND_MLP,
    "smollm3": _ATTENTION_AND_MLP,
    "gemma3_text": _ATTENTION_AND_MLP,
    "phi3": _FUSED_ATTENTION_AND_MLP,
}


def check_language_model_supported(text_config: PreTrainedConfig) -> None:
    """Raises `ValueError`, with the list of supported families, for an LLM of any other."""
    if text_config.model_type not in SUPPORTED_LANGUAGE_MODELS:
        raise ValueError(
            f"AuRA does not support language models of type {text_config.model_type!r}. "
            f"Supported: {', '.join(SUPPORTED_LANGUAGE_MODELS)}."
        )


def lora_target_modules_of(text_config: PreTrainedConfig) -> tuple[str, ...]:
    """Names of the attention and MLP projections of a supported LLM."""
    return SUPPORTED_LANGUAGE_MODELS[text_config.model_type]
