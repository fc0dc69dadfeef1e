"""LoRA inside the LLM's first layers, by PEFT, acting only where the audio is.

PEFT makes, initialises and merges the low-rank pairs. What is added here is the *gate*: a mask over rows or positions
that multiplies the low-rank branch during one forward pass. Where the gate is 0 the branch adds an exact 0, so those
rows or positions are the base LLM bit for bit. The gate lives in a context variable, set around one forward pass and
reset after it: nothing is toggled on the model, and nothing stays behind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Literal, TypeAlias

import torch
from torch import nn
from transformers import PreTrainedModel

from .configuration_aura import AuraConfig


ADAPTER_NAME = "default"

# "off": the bare base LLM; "on": LoRA everywhere; a tensor of shape (batch, 1, 1) or (batch, seq, 1): LoRA where not 0
LoraGate: TypeAlias = torch.Tensor | Literal["on", "off"]

# Off unless a forward pass of AuraModel says otherwise, so that calling the language model directly is the base LLM.
_current_gate: ContextVar[LoraGate] = ContextVar("aura_lora_gate", default="off")


@contextmanager
def lora_gate(gate: LoraGate) -> Iterator[None]:
    """LoRA acts by `gate` inside this context."""
    token = _current_gate.set(gate)
    try:
        yield
    finally:
        _current_gate.reset(token)


def checkpoint_under_gate(checkpoint: Callable[..., Any]) -> Callable[..., Any]:
    """`torch.utils.checkpoint.checkpoint`, whose recomputation in backward runs under the forward pass's gate."""

    def run(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        gate = _current_gate.get()

        def under_gate(*args: Any, **kwargs: Any) -> Any:
            with lora_gate(gate):
                return function(*args, **kwargs)

        return checkpoint(under_gate, *args, **kwargs)

    return run


def inject_lora(language_model: PreTrainedModel, config: AuraConfig) -> None:
    """Puts LoRA into the first `config.lora_num_layers` layers of `language_model`, in place, and freezes the rest.

    The new parameters stand on the device of the layer that they adapt, in the dtype of the language model, and
    start as no change (B = 0).
    """
    from peft import LoraConfig, inject_adapter_in_model

    language_model.requires_grad_(False)
    lora_config = LoraConfig(
        r=config.lora_rank,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
        target_modules=list(config.lora_target_modules),
        layers_to_transform=list(range(config.lora_num_layers)),
        layers_pattern="layers",
    )
    inject_adapter_in_model(lora_config, language_model, ADAPTER_NAME)
    for layer in lora_layers(language_model).values():
        layer.register_forward_pre_hook(_bypass_lora_when_off, with_kwargs=True)
        layer.lora_A[ADAPTER_NAME].register_forward_hook(_apply_gate)
        for branch in (layer.lora_A, layer.lora_B):
            branch[ADAPTER_NAME].to(language_model.dtype)


def lora_layers(module: nn.Module) -> dict[str, Any]:
    """PEFT's LoRA layers inside `module`, by name."""
    from peft.tuners.lora import LoraLayer

    return {name: layer for name, layer in module.named_modules() if isinstance(layer, LoraLayer)}


def _bypass_lora_when_off(layer: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict] | None:
    """PEFT's own per-row switch, with every row on the base layer: LoRA costs nothing where it is off."""
    gate = _current_gate.get()
    if isinstance(gate, str) and gate == "off":
        return args, {**kwargs, "adapter_names": ["__base__"] * len(args[0])}
    return None


def _apply_gate(lora_a: nn.Module, args: tuple, output: torch.Tensor) -> torch.Tensor | None:
    gate = _current_gate.get()
    return None if isinstance(gate, str) else output * gate.to(output.dtype)


def without_lora_name(name: str) -> str:
    """Name of a weight as the stock LLM has it: PEFT keeps an adapted layer's own weights under `base_layer`."""
    return name.replace(".base_layer.", ".")


def is_lora_key(key: str) -> bool:
    """Whether a state-dict key names a LoRA weight."""
    return ".lora_A." in key or ".lora_B." in key


def is_adapter_key(key: str) -> bool:
    """Whether a state-dict key belongs to the adapter (LoRA, audio patch embedding, heads), not to the base LLM."""
    return is_lora_key(key) or key.removeprefix("model.").startswith(
        ("embed_audio.", "subword_ctc_head.", "character_ctc_head.")
    )


def merged_weight(layer: Any, name: str) -> torch.Tensor:
    """Weight of a LoRA layer with its adapter merged in, by PEFT, of shape `(out_features, in_features)`; a new tensor.

    Raises:
        ValueError: the base layer is quantised, so that its weight cannot take a low-rank update exactly.
    """
    weight = layer.get_base_layer().weight
    if type(weight) not in (nn.Parameter, torch.Tensor) or not weight.is_floating_point():
        raise ValueError(
            f"{name} is quantised ({type(weight).__name__}), so LoRA cannot be merged into it. "
            "Load the student without `quantization_config`, merge, then quantise the merged checkpoint."
        )
    return (weight + layer.get_delta_weight(ADAPTER_NAME).to(weight.dtype)).detach()
