"""A student's LoRA as an adapter of PEFT on its base LLM: for engines that serve adapters beside one base."""

from __future__ import annotations

import os
from pathlib import Path

from safetensors.torch import load_file, save_file
from transformers.utils import SAFE_WEIGHTS_NAME, cached_file

from ..modeling.adapter import canonical_key, is_lora_key, peft_config
from ..modeling.configuration_aura import AuraConfig
from ..modeling.modeling_aura import AuraForSpeechQA
from .export import new_folder


ADAPTER_FOLDER = "adapter"
"""Where it lies in a student's repo. Never in the root, where `adapter_config.json` makes `from_pretrained` load the base LLM alone."""


def save_peft_adapter(
    model: str | os.PathLike, out: str | os.PathLike | None = None, *, revision: str | None = None
) -> Path:
    """
    Write a compact student's LoRA in PEFT's format.

    What listens is not in it: the audio patch embedding stays in the student's own `model.safetensors`.

    Args:
        model: Hub id or folder of a compact student, or the name of a packaged one.
        out: the folder to make; `adapter/` in the student's folder when not given.
        revision: of the student, by Hub id.

    Returns:
        `Path`: the folder, with `adapter_config.json` and `adapter_model.safetensors`.

    Raises:
        HubError: `out` is in use, or the disk is full.
        ValueError: the student is merged or has no LoRA, or its LoRA acts on audio positions only, which PEFT does not know.
    """
    model = AuraForSpeechQA.locate_student(model)
    config = AuraConfig.from_pretrained(model, revision=revision)
    if not config.lora_rank or not config.is_compact:
        raise ValueError(f"{model} has no LoRA beside its base LLM: there is no adapter to write.")
    if config.lora_scope == "audio":
        raise ValueError(
            f'LoRA of {model} acts on audio positions only (`lora_scope="audio"`), one of PEFT on all of a request.'
        )
    if out is None:
        if not Path(model).is_dir():
            raise ValueError(f"{model} is no folder: name the one to make, `out=`.")
        out = Path(model) / ADAPTER_FOLDER
    weights = load_file(cached_file(model, SAFE_WEIGHTS_NAME, revision=revision))
    adapter = {
        f"base_model.model.model.{canonical_key(name).removeprefix('language_model.')}": weight
        for name, weight in weights.items()
        if is_lora_key(name)
    }
    settings = peft_config(
        config,
        task_type="CAUSAL_LM",
        base_model_name_or_path=config.base_model,
        revision=config.base_revision,
        inference_mode=True,
    )
    with new_folder(out) as folder:
        settings.save_pretrained(str(folder))
        save_file(adapter, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    return Path(out)
