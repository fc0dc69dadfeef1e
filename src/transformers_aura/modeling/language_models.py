"""The LLM families that AuRA can sit on, each covered by a bit-exact parity test, and the LLM in a checkpoint."""

from __future__ import annotations

import copy

from transformers import PreTrainedConfig


_ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
_ATTENTION_AND_MLP = (*_ATTENTION, "gate_proj", "up_proj", "down_proj")
_ATTENTION_AND_MLP_WITHOUT_GATE = (*_ATTENTION, "up_proj", "down_proj")
_ATTENTION_AND_FUSED_MLP = (*_ATTENTION, "gate_up_proj", "down_proj")
_FUSED_ATTENTION_AND_MLP = ("qkv_proj", "o_proj", "gate_up_proj", "down_proj")
_LATENT_ATTENTION = ("q_a_proj", "q_b_proj", "kv_a_proj_with_mqa", "o_proj")
_LINEAR_ATTENTION = ("in_proj_qkv", "in_proj_z", "in_proj_b", "in_proj_a", "out_proj")


def _families(names: str, projections: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    return dict.fromkeys(names.split(), projections)


SUPPORTED_LANGUAGE_MODELS: dict[str, tuple[str, ...]] = {
    **_families(
        "qwen2 qwen3 llama mistral smollm3 gemma3_text bitnet cohere cohere2 cwm diffllama ernie4_5 exaone4 gemma "
        "gemma2 gemma4_unified_text granite granite_swa helium hunyuan_v1_dense internlm3 iquestcoder ministral "
        "ministral3 olmo olmo2 olmo3 seed_oss stablelm vaultgemma",
        _ATTENTION_AND_MLP,
    ),
    **_families("apertus apertus1p5_text arcee jais2 nemotron", _ATTENTION_AND_MLP_WITHOUT_GATE),
    **_families("glm glm4", _ATTENTION_AND_FUSED_MLP),
    **_families(
        "aria_text ernie4_5_moe exaone_moe flex_olmo flint glm4_moe gpt_oss granitemoe granitemoe_swa "
        "granitemoeshared hunyuan_v1_moe hy_v3 kolibri1 llama4_text mellum mimo_v2_flash minimax_m2 "
        "minimax_m3_vl_text mixtral olmoe phimoe qwen2_moe qwen3_moe solar_open",
        _ATTENTION,
    ),
    **_families("axk1 deepseek_v2 deepseek_v3 deepseek_v32 glm4_moe_lite glm_moe_dsa sarvam_mla", _LATENT_ATTENTION),
    "phi3": _FUSED_ATTENTION_AND_MLP,
    "starcoder2": (*_ATTENTION, "c_fc", "c_proj"),
    "jetmoe": ("kv_proj",),
    "laguna": (*_ATTENTION, "g_proj"),
    "olmo_hybrid": (*_ATTENTION_AND_MLP, "a_proj", "b_proj", "g_proj"),
    "qwen3_5_text": (*_LINEAR_ATTENTION, *_ATTENTION_AND_MLP),
    "qwen3_5_moe_text": (*_LINEAR_ATTENTION, *_ATTENTION),
    "qwen3_next": ("in_proj_qkvz", "in_proj_ba", "out_proj", *_ATTENTION),
}
"""`model_type` of the text config, and names of the projections that LoRA is put into by default: those of attention and MLP, in a mixture of experts those
of attention. What `python -m tests.families` finds to hold in every respect, see docs/families.md."""


def text_config_of(config: PreTrainedConfig) -> PreTrainedConfig:
    """Config of the LLM in a checkpoint: the checkpoint's own, or that of the text part where it is a multimodal model.

    Raises:
        ValueError: the LLM is of no supported family.
    """
    text_config = config.get_text_config(decoder=True)
    check_language_model_supported(text_config)
    if text_config is not config:
        text_config = copy.deepcopy(text_config)
        text_config.tie_word_embeddings = config.tie_word_embeddings  # what the whole checkpoint says holds
        if text_config.dtype is None:
            text_config.dtype = config.dtype
    return text_config


def check_language_model_supported(text_config: PreTrainedConfig) -> None:
    """Raises `ValueError`, with the list of supported families, for an LLM of any other."""
    if text_config.model_type not in SUPPORTED_LANGUAGE_MODELS:
        raise ValueError(
            f"AuRA does not support language models of type {text_config.model_type!r}. "
            f"Supported: {', '.join(SUPPORTED_LANGUAGE_MODELS)}."
        )


def lora_target_modules_of(text_config: PreTrainedConfig) -> tuple[str, ...]:
    """Names of the projections of a supported LLM that LoRA is put into by default."""
    return SUPPORTED_LANGUAGE_MODELS[text_config.model_type]
