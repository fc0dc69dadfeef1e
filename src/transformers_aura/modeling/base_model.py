"""The base LLM of a student, from its own repo or a GGUF file, inside a student without LoRA; and whether it is the right one."""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.utils import CONFIG_NAME, GENERATION_CONFIG_NAME

from ..repo_files import (
    LANGUAGE_MODEL_FILES,
    check_small_files,
    naming_damaged_files,
    refuse_pickles,
    repo_file,
)
from .adapter_weights import AdapterMismatchError, listed
from .audio_embedding import AuraAudioEmbedding
from .configuration_aura import AuraConfig
from .ctc_heads import CharacterCTCHead, SubwordCTCHead
from .fingerprint import fingerprint, fingerprints_match


NAME_A_COPY = "Name another place that has this LLM, a folder or a hub id: `base_model_name_or_path=`, or --base-model of the `aura` command."


def check_base(student: Any, config: AuraConfig, source: str | None) -> None:
    """Raises [`AdapterMismatchError`] where a student was loaded onto another LLM than its own."""
    if config.base_fingerprint is not None:
        check_fingerprint(config, fingerprint(student.audio_language_model.language_model), source)


def check_fingerprint(config: AuraConfig, found: str, source: str | None) -> None:
    """Raises [`AdapterMismatchError`] where the LLM in `source` has another fingerprint than the student's base."""
    if config.base_fingerprint is not None and not fingerprints_match(config.base_fingerprint, found):
        revision = f" at revision {config.base_revision}" if config.base_revision else ""
        raise AdapterMismatchError(
            f"The base LLM in {source} is not the one that this adapter was trained on "
            f"({' '.join(filter(None, (config.base_model, config.base_gguf_file)))}{revision}): their weights differ. An adapter works on "
            "its own base only, and a quantised LLM (a GGUF file, say) is another base than the LLM that it was made from."
        )


_SIZES = (
    "model_type",
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
)


def _check_sizes(source: str, config: AuraConfig, hub_kwargs: dict[str, Any]) -> None:
    """Compares the student's config with the base LLM's own, before weights are downloaded or made room for."""
    file = repo_file(source, CONFIG_NAME, is_needed=False, **hub_kwargs)
    if file is None:
        return
    check_small_files(source, [CONFIG_NAME], **hub_kwargs)
    of_checkpoint, of_student = json.loads(Path(file).read_text(encoding="utf-8")), config.text_config.to_dict()
    of_base = of_checkpoint.get("text_config", of_checkpoint)
    for name in _SIZES:
        if name in of_base and name in of_student and of_base[name] != of_student[name]:
            raise AdapterMismatchError(
                f"{source} is not the LLM of this student: its `{name}` is {of_base[name]}, in the student's config.json it is {of_student[name]}."
            )


def load_base(
    cls: type[PreTrainedModel], config: AuraConfig, hub_kwargs: dict[str, Any], loader_kwargs: dict[str, Any]
) -> tuple[Any, dict[str, Any]]:
    """A `cls` without LoRA, its language model loaded from the base LLM's own repo, its patch embedding new."""
    without_lora = copy.deepcopy(config)
    without_lora.lora_rank = 0
    source = config.base_model
    if source is None:
        raise ValueError("The config names no `base_model`.")
    if os.path.isabs(source) and not os.path.isdir(source):
        raise FileNotFoundError(
            f"The student's base LLM is the folder {source}, which is not on this machine. {NAME_A_COPY}"
        )
    if config.base_gguf_file is not None:
        return _load_gguf_base(cls, without_lora, hub_kwargs, loader_kwargs), {}
    source_kwargs = {name: value for name, value in hub_kwargs.items() if value is not None}
    _check_sizes(source, config, source_kwargs)
    refuse_pickles(source, **source_kwargs)
    keep_audio_unquantised(loader_kwargs.get("quantization_config"))
    prefix = "model.language_model." if cls.can_generate() else "language_model."  # with a head, or headless
    try:
        with naming_damaged_files(source, LANGUAGE_MODEL_FILES, **source_kwargs):
            student, loading_info = PreTrainedModel.from_pretrained.__func__(
                cls,
                source,
                config=without_lora,
                key_mapping={
                    # a multimodal checkpoint, as it is saved today and as it was before
                    r"^model\.language_model\.": prefix,
                    r"^language_model\.model\.": prefix,
                    r"^language_model\.lm_head\.": "lm_head.",
                    r"^model\.(?!language_model\.|embed_audio\.|subword_ctc_head\.|character_ctc_head\.)": prefix,
                },
                output_loading_info=True,
                **source_kwargs,
                **{**loader_kwargs, "use_safetensors": True},
            )
        check_small_files(source, [GENERATION_CONFIG_NAME], **source_kwargs)
    except RuntimeError as error:
        if "ignore_mismatched_sizes" not in str(error):
            raise
        raise AdapterMismatchError(
            f"{source} is not the LLM of this student: its weights have other shapes than the student's config.json "
            f"says ({config.text_config.model_type}, {config.text_config.num_hidden_layers} layers, width "
            f"{config.text_config.hidden_size}). The loader's report above names them."
        ) from error
    problems = sorted(map(str, loading_info["missing_keys"]))
    if problems:
        raise AdapterMismatchError(
            f"{source} lacks weights of the {config.text_config.model_type} LLM that this student needs: "
            f"{listed(problems)}."
        )
    # The loader remembers the key mapping and the quantiser in order to undo or repeat them on saving; a compact student
    # is saved under its own names, and what is saved is not quantised.
    student._weight_conversions = None
    student.hf_quantizer = None
    return student, loading_info


def _load_gguf_base(
    cls: type[PreTrainedModel],
    config: AuraConfig,
    hub_kwargs: dict[str, Any],
    loader_kwargs: dict[str, Any],
) -> Any:
    """The LLM of a GGUF file, its weights dequantised, inside a `cls`."""
    read_here = naming_damaged_files(
        config.base_model, [str(config.base_gguf_file)], is_all_that_is_read=True, **hub_kwargs
    )
    with read_here:
        causal_lm = AutoModelForCausalLM.from_pretrained(
            config.base_model,
            gguf_file=config.base_gguf_file,
            **_dequantise(),
            **{name: value for name, value in hub_kwargs.items() if value is not None},
            **loader_kwargs,
        )
    config.dtype = causal_lm.dtype
    with torch.device("meta"):
        student = cls(config)
    audio_language_model = student.audio_language_model
    audio_language_model.language_model = causal_lm.model
    like_the_llm, width = (causal_lm.device, causal_lm.dtype), config.text_config.hidden_size
    audio_language_model.embed_audio = AuraAudioEmbedding(config.audio_config, width).to(*like_the_llm)
    student._init_weights(audio_language_model.embed_audio)
    if config.subword_ctc_layer is not None:
        audio_language_model.subword_ctc_head = SubwordCTCHead(width).to(*like_the_llm)
    if config.character_ctc_alphabet is not None:
        head = CharacterCTCHead(width, config.character_ctc_alphabet)
        audio_language_model.character_ctc_head = head.to(*like_the_llm)
    if student.get_output_embeddings() is not None:
        student.set_output_embeddings(causal_lm.get_output_embeddings())
    if student.can_generate():
        student.generation_config = causal_lm.generation_config
    return student.eval()


def _dequantise() -> dict[str, Any]:
    try:
        from transformers import GgufConfig
    except ImportError:  # older transformers always dequantise
        return {}
    return {"quantization_config": GgufConfig(dequantize=True)}


def keep_audio_unquantised(quantization_config: Any) -> None:
    """Audio is what quantisation ruins first: the patch embedding and the heads stay as they are."""
    if quantization_config is None:
        return
    settings = vars(quantization_config)
    for name in {"modules_to_not_convert", "llm_int8_skip_modules"} & settings.keys():
        settings[name] = sorted({*(settings[name] or ()), *_NOT_QUANTISED})


# Names are compared from their start, so those of a student with a head and of a headless one.
_NOT_QUANTISED = (
    *(
        f"{prefix}{part}"
        for prefix in ("", "model.")
        for part in ("embed_audio", "subword_ctc_head", "character_ctc_head")
    ),
    "lm_head",
)
