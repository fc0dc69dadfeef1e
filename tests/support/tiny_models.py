"""Tiny models with random weights, built in code: every supported family, a student on any of them, a teacher."""

from pathlib import Path

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel, set_seed

from transformers_aura import AuraForSpeechQA, AuraProcessor
from transformers_aura.decoding.alphabet import BLANK, GAP, LATIN_ALPHABET

from .tiny import tiny_tokenizer, tone


FAMILIES = ("qwen2", "qwen3", "llama", "mistral", "smollm3", "gemma3_text", "phi3")
"""The families that are tried in every test; `tests/families` tries all that are supported."""

_TINY_SIZES = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 8192,
    "pad_token_id": 0,
    # factors that are 1 by default
    "embedding_multiplier": 3.0,
    "residual_multiplier": 0.7,
    "logits_scaling": 2.0,
    "logit_scale": 0.25,
    "lm_head_multiplier": 0.5,
    # mixtures of experts
    "moe_intermediate_size": 16,
    "shared_expert_intermediate_size": 16,
    "num_experts": 4,
    "num_local_experts": 4,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "n_group": 1,
    "topk_group": 1,
    "first_k_dense_replace": 1,
    # multi-head latent attention
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 8,
    # linear attention
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    # embeddings of each layer
    "hidden_size_per_layer_input": 8,
}
"""Of these, a family gets those that its config has."""

_FAMILY_SETTINGS = {
    "gemma3_text": {"layer_types": ["sliding_attention", "full_attention", "sliding_attention"], "sliding_window": 64},
    "mistral": {"sliding_window": None},
    "qwen2": {"tie_word_embeddings": True},
}


def _has(config: PreTrainedConfig, name: str) -> bool:
    try:
        return hasattr(config, name)
    except RuntimeError:  # it differs from layer to layer
        return True


def tiny_config(family: str, **settings: object) -> PreTrainedConfig:
    """Configuration of a tiny LLM of `family`, whose layers are of all kinds in turn."""
    default = AutoConfig.for_model(family)
    computed = {name for name in dir(type(default)) if isinstance(getattr(type(default), name), property)}
    values = {name: value for name, value in _TINY_SIZES.items() if _has(default, name) and name not in computed}
    values |= {"vocab_size": len(tiny_tokenizer()), **_FAMILY_SETTINGS.get(family, {}), **settings}
    for name in {"layer_types", "mlp_layer_types"} - {*computed, *values}:
        if kinds := list(dict.fromkeys(getattr(default, name, None) or ())):
            num_layers = int(values.get("num_hidden_layers", 3))
            values[name] = (num_layers * kinds)[:num_layers]
    if "kv_lora_rank" in values:
        values["num_key_value_heads"] = values["num_attention_heads"]
    if "sliding_window" not in values and getattr(default, "sliding_window", None):
        values["sliding_window"] = 64
    if _has(default, "vocab_size_per_layer_input"):
        values["vocab_size_per_layer_input"] = values["vocab_size"]
    return AutoConfig.for_model(family, **values)


def tiny_language_model(family: str = "qwen2", seed: int = 0, **settings: object) -> PreTrainedModel:
    """A random causal LLM of `family`, sharp enough that its greedy answers vary."""
    config = tiny_config(family, **settings)
    set_seed(seed)
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim in (2, 3):
                parameter.normal_(std=0.25)
    model.generation_config.pad_token_id = 0
    return model.eval()


RESERVED_TOKEN = "<|reserved_special_token_0|>"
"""A token that is there for later use, and so for audio."""


def save_tiny_language_model(
    folder: Path, family: str = "qwen2", seed: int = 0, special_tokens: tuple[str, ...] = (), **settings: object
) -> Path:
    """The same as a Hugging Face folder with its tokenizer, which has further special tokens."""
    tokenizer = tiny_tokenizer(special_tokens=special_tokens)
    tiny_language_model(family, seed, **{"vocab_size": len(tokenizer), **settings}).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def tiny_student(folder: Path, family: str = "qwen2", seed: int = 0, **settings: object) -> AuraForSpeechQA:
    """A student of the base LLM that is (or will be) saved in `folder`, with an adapter that does something."""
    if not (folder / "config.json").exists():
        save_tiny_language_model(folder, family)
    settings = {"lora_rank": 4, "lora_num_layers": 2, "conv_width": 24, "tokens_per_block": 4, **settings}
    set_seed(seed)
    student = AuraForSpeechQA.from_language_model_pretrained(folder, **settings)
    randomise_adapter(student, seed)
    return student


def randomise_adapter(student: AuraForSpeechQA, seed: int = 0) -> None:
    """Gives LoRA's B matrices values, as if trained (they start at zero, which would make every test of LoRA pass)."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in student.named_parameters():
            if ".lora_B." in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)


def tiny_transcriber(
    folder: Path,
    family: str = "qwen2",
    seed: int = 0,
    decoding_config: dict[str, object] | None = None,
    **settings: object,
) -> AuraForSpeechQA:
    """A [`tiny_student`] with both CTC heads, saved in `folder / "student"` with its processor: sure of characters in any sound but silence."""
    settings = {"character_ctc_alphabet": LATIN_ALPHABET, "subword_ctc_layer": 2, **settings}
    student = tiny_student(folder / "base", family, seed, **settings)
    student.config.decoding_config = decoding_config
    processor = AuraProcessor.from_language_model_pretrained(folder / "base")
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        head = student.model.subword_ctc_head
        head.projection.weight.copy_(torch.randn(head.projection.weight.shape, generator=generator))
        head.blank.bias.fill_(4.0)
        head = student.model.character_ctc_head
        silence = processor.feature_extractor(np.zeros(16_000, np.float32), sampling_rate=16_000, return_tensors="pt")
        embeddings = student.get_audio_features(**silence).pooler_output
        directions, _ = torch.linalg.qr(embeddings[[0, len(embeddings) // 2, -1]].T)
        weight = 2.0 * torch.randn(head.projection.weight.shape, generator=generator)
        head.projection.weight.copy_(weight - weight @ directions @ directions.T)
        bias = head.projection.bias.zero_().view(-1, head.num_symbols)
        bias[:, BLANK], bias[:, GAP] = 22.0, 6.0
    student.generation_config.eos_token_id = processor.tokenizer.eos_token_id
    student.generation_config.pad_token_id = processor.tokenizer.pad_token_id
    student.save_pretrained(folder / "student")
    processor.save_pretrained(folder / "student")
    return student


def babble(seconds: float, seed: int = 0) -> dict[str, object]:
    """A sound that changes all the time, at 16 kHz."""
    generator = np.random.default_rng(seed)
    parts = [tone(0.1, hertz, amplitude=0.5) for hertz in generator.uniform(100, 4000, round(10 * seconds))]
    return {"array": np.concatenate(parts), "sampling_rate": 16_000}


def quiet(seconds: float) -> dict[str, object]:
    """No sound at all, at 16 kHz."""
    return {"array": np.zeros(round(16_000 * seconds), np.float32), "sampling_rate": 16_000}
