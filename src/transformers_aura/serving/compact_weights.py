"""Weights of a compact student and its base LLM, one after the other as an engine reads them: LoRA merged on the way, the base compared with the fingerprint."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch

from ..modeling.adapter import canonical_key, is_adapter_key, is_lora_key
from ..modeling.adapter_weights import AdapterMismatchError, listed
from ..modeling.base_model import check_fingerprint
from ..modeling.configuration_aura import AuraConfig
from ..modeling.fingerprint import joined_samples, samples_of


_BASE_PREFIX = "model."
"""Of the names in a base LLM's repo, but for its head."""


def weights_of_compact_student(
    config: AuraConfig, weights: Iterable[tuple[str, torch.Tensor]], *, merge_lora: bool, base: str
) -> Iterator[tuple[str, torch.Tensor]]:
    """
    Names and weights without LoRA: the patch embedding and the heads, then the base LLM, each as its own repo names it.

    Args:
        config: the student's.
        weights: of its `model.safetensors`, then those of the base LLM.
        merge_lora: merge LoRA into the base LLM's weights; else it is left out.
        base: where the base LLM lies, for errors.

    Raises:
        AdapterMismatchError: the base is another LLM than the student's, or LoRA has weights that it lacks.
    """
    scaling = config.lora_alpha / config.lora_rank if config.lora_rank else 0.0
    lora: dict[str, torch.Tensor] = {}
    samples: dict[str, torch.Tensor] = {}
    for name, weight in weights:
        if is_lora_key(name):
            if merge_lora:
                lora[canonical_key(name)] = weight
            continue
        if not is_adapter_key(name) and name.startswith(_BASE_PREFIX):
            in_language_model = name.removeprefix(_BASE_PREFIX)
            samples[in_language_model] = samples_of(weight)
            layer = f"language_model.{in_language_model.removesuffix('.weight')}"
            down, up = (lora.pop(f"{layer}.{branch}.weight", None) for branch in ("lora_A", "lora_B"))
            if down is not None and up is not None:
                weight = weight.float().addmm_(up.float(), down.float(), alpha=scaling)
        yield name, weight
    check_fingerprint(config, joined_samples(samples), base)
    if lora:
        raise AdapterMismatchError(f"{base} lacks layers that the student's LoRA is for: {listed(sorted(lora))}.")
