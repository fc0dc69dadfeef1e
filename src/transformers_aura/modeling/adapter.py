"""LoRA inside the LLM's first layers, by PEFT, acting only where the audio is.

PEFT makes, initialises and merges the low-rank pairs. When they act is decided here, by the *gate*: a mask over rows or positions that multiplies the
low-rank branch during one forward pass. Where the gate is 0 the branch adds an exact 0, so those rows or positions are the base LLM bit for bit. The
gate belongs to the thread that runs the pass, set around it and reset after it: nothing is toggled on the model, and nothing stays behind.
`torch.compile` reads and writes a thread's values without a break of its graph, which it does not do with a context variable.

PEFT never counts the student's own LoRA among its active adapters. So whatever PEFT does on top of a student (`get_peft_model`, `load_adapter`,
`set_adapter`, `disable_adapter`, merging) concerns the other adapters, and the student hears as before. Each pass counts the layers in which its own
LoRA acted; a pass in which it should and did not is an error.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeAlias

import torch
from torch import nn
from transformers import PreTrainedModel

from .configuration_aura import AuraConfig


ADAPTER_NAME = "aura"
"""Name of the student's own LoRA among PEFT's adapters, of which `"default"` is the one that people add. (Students that were saved by earlier versions
have `default` in the names of their tensors.)"""

# "off": the bare base LLM; "on": LoRA everywhere; a tensor of shape (batch, seq, 1): LoRA where not 0
LoraGate: TypeAlias = torch.Tensor | Literal["on", "off"]


@dataclass
class LoraPass:
    """
    One forward pass.

    Attributes:
        gate: where LoRA acts.
        num_layers: linear layers in which it acted so far.
    """

    gate: LoraGate
    num_layers: int = 0


class _Thread(threading.local):
    """What a thread is at."""

    def __init__(self) -> None:
        # Off unless a forward pass of AuraModel says otherwise, so that calling the language model directly is the base LLM.
        self.lora_pass: LoraPass | None = None


_thread = _Thread()


@contextmanager
def lora_gate(gate: LoraGate) -> Iterator[LoraPass]:
    """LoRA acts by `gate` inside this context."""
    lora_pass = LoraPass(gate)
    with _inside(lora_pass):
        yield lora_pass


@contextmanager
def _inside(lora_pass: LoraPass | None) -> Iterator[None]:
    before = _thread.lora_pass
    _thread.lora_pass = lora_pass
    try:
        yield
    finally:
        _thread.lora_pass = before


def checkpoint_in_pass(checkpoint: Callable[..., Any]) -> Callable[..., Any]:
    """`torch.utils.checkpoint.checkpoint`, whose recomputation in backward belongs to the forward pass, with its gate."""

    def run(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        lora_pass = _thread.lora_pass

        def in_pass(*args: Any, **kwargs: Any) -> Any:
            with _inside(lora_pass):
                return function(*args, **kwargs)

        return checkpoint(in_pass, *args, **kwargs)

    return run


def inject_lora(language_model: PreTrainedModel, config: AuraConfig) -> list[int]:
    """Puts LoRA into the first `config.lora_num_layers` layers of `language_model`, in place, and freezes the rest.

    The new parameters stand on the device of the layer that they adapt, in the dtype of the language model, and
    start as no change (B = 0).

    Returns:
        linear layers with LoRA in each of these decoder layers: fewer than `config.lora_target_modules` where a layer has not all of them.
    """
    from peft import inject_adapter_in_model

    language_model.requires_grad_(False)
    inject_adapter_in_model(peft_config(config), language_model, ADAPTER_NAME)
    scaling = config.lora_alpha / config.lora_rank
    for layer in lora_layers(language_model).values():
        for branch in (layer.lora_A, layer.lora_B):
            branch[ADAPTER_NAME].to(language_model.dtype)
        layer.lora_A[ADAPTER_NAME].student_scaling = scaling
        layer.lora_A[ADAPTER_NAME].student_is_merged = False
        layer.forward = partial(_forward, layer)
        layer.set_adapter = partial(_set_others, layer)
        layer.unload_and_optionally_merge_module = partial(_unload_others, layer)
        layer.set_adapter([])
    return [len(lora_layers(layer)) for layer in language_model.layers[: config.lora_num_layers]]


def peft_config(config: AuraConfig, **settings: Any) -> Any:
    """PEFT's `LoraConfig` of a student's LoRA, with further settings of it."""
    from peft import LoraConfig

    return LoraConfig(
        r=config.lora_rank,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
        target_modules=list(config.lora_target_modules),
        layers_to_transform=list(range(config.lora_num_layers)),
        layers_pattern="layers",
        **settings,
    )


def check_lora_acted(lora_pass: LoraPass, num_layers: int) -> None:
    """Raises `RuntimeError` unless the student's own LoRA acted in `num_layers` linear layers of a pass."""
    if lora_pass.num_layers != num_layers:
        raise RuntimeError(
            f"The student's own LoRA (PEFT adapter {ADAPTER_NAME!r}) acted in {lora_pass.num_layers} of {num_layers} linear layers, so this is not the "
            "student any more: the adapter was deleted, merged or replaced, or its layers were taken out of the model. Load the student again. An "
            "adapter for a task needs another name."
        )


def lora_layers(module: nn.Module) -> dict[str, Any]:
    """PEFT's LoRA layers inside `module`, by name."""
    from peft.tuners.lora import LoraLayer

    return {name: layer for name, layer in module.named_modules() if isinstance(layer, LoraLayer)}


def _forward(layer: Any, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    """What PEFT makes of a layer and its other adapters, and the student's own low-rank branch added to it, as PEFT would, but by the gate."""
    if not kwargs and len(layer.lora_A) == 1 and ADAPTER_NAME in layer.lora_A:
        output = layer.base_layer(x, *args)  # which is what PEFT comes to where it has no adapter to add
    else:
        output = type(layer).forward(layer, x, *args, **kwargs)
    lora_pass = _thread.lora_pass
    gate = "off" if lora_pass is None else lora_pass.gate
    lora_a: Any = getattr(layer.lora_A, ADAPTER_NAME, None)
    scaling = getattr(lora_a, "student_scaling", None)  # another adapter under this name has none
    if scaling is None or ADAPTER_NAME in layer.merged_adapters:
        return output
    if lora_pass is not None:
        lora_pass.num_layers += 1
    if lora_a.student_is_merged:  # taken away where it does not act
        gate, scaling = _opposite(gate), -scaling
    if isinstance(gate, str) and gate == "off":
        return output
    lora_b = layer.lora_B[ADAPTER_NAME]
    branch = lora_a(layer.lora_dropout[ADAPTER_NAME](x.to(lora_a.weight.dtype)))
    if not isinstance(gate, str):
        of_positions = gate.flatten(0, 1) if x.ndim == 2 else gate  # experts get the positions of all rows in one line
        branch = branch * of_positions.to(branch.dtype)
    is_of_one_dtype = output.dtype == branch.dtype == lora_b.weight.dtype
    if torch.is_grad_enabled() or not is_of_one_dtype or not output.is_contiguous():
        return (output + lora_b(branch) * scaling).to(output.dtype)
    # The same in one operation and in place: what is wide is read and written once.
    output.view(-1, output.shape[-1]).addmm_(branch.flatten(0, -2), lora_b.weight.t(), alpha=scaling)
    return output


def _opposite(gate: LoraGate) -> LoraGate:
    if isinstance(gate, torch.Tensor):
        return gate == 0
    return "on" if gate == "off" else "off"


def _set_others(layer: Any, adapter_names: str | list[str], *args: Any, **kwargs: Any) -> None:
    """PEFT's `set_adapter` of a layer, which the student's own LoRA has no part in: it is never PEFT's to turn on, and whether it is trained stays."""
    own = [parameter for branch in (layer.lora_A, layer.lora_B) for parameter in branch[ADAPTER_NAME].parameters()]
    is_trained = [parameter.requires_grad for parameter in own]
    names = [adapter_names] if isinstance(adapter_names, str) else adapter_names
    type(layer).set_adapter(layer, [name for name in names if name != ADAPTER_NAME], *args, **kwargs)
    for parameter, requires_grad in zip(own, is_trained, strict=True):
        parameter.requires_grad_(requires_grad)


def _unload_others(layer: Any, merge: bool, safe_merge: bool, adapter_names: list[str] | None) -> Any:
    """What PEFT's `unload` and `merge_and_unload` put in a layer's place: itself, without the adapters on top of the student's own."""
    if merge:
        raise ValueError(
            "An adapter cannot be merged into a student with LoRA of its own: its base LLM would no longer be the one that its repo names. Merge the "
            "student first (`student.merge()`), load the adapter onto the result, and merge that; or keep the adapter beside the student."
        )
    for name in other_adapters(layer):
        layer.delete_adapter(name)
    layer.set_adapter([])
    return layer


def other_adapters(module: nn.Module) -> list[str]:
    """Names of the PEFT adapters in a module beside the student's own LoRA."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    layers = [layer for layer in module.modules() if isinstance(layer, BaseTunerLayer)]
    names = {name for layer in layers for kind in layer.adapter_layer_names for name in getattr(layer, kind)}
    return sorted(names - {ADAPTER_NAME})


def weights_and_adapters_state(module: nn.Module) -> list[Any]:
    """Versions of a module's weights, and which adapters of PEFT act in its layers and how: equal as long as nobody writes, moves or replaces a weight,
    or adds, removes, switches, merges or rescales an adapter. (Writing through `tensor.data` is not seen.)
    """
    from peft.tuners.lora import LoraLayer
    from peft.tuners.tuners_utils import BaseTunerLayer

    state: list[Any] = []
    modules = [module]
    while (
        modules
    ):  # by hand: `parameters()` and `modules()` take several times as long, which counts beside a first token
        part = modules.pop()
        modules.extend(child for child in part._modules.values() if child is not None)
        for weight in part._parameters.values():
            if weight is not None:
                version = 0 if weight.is_inference() else weight._version
                state.append((id(weight), version, weight.dtype, weight.device))
        if isinstance(part, BaseTunerLayer):
            scaling = tuple(part.scaling.items()) if isinstance(part, LoraLayer) else ()
            state.append((tuple(part.active_adapters), part.disable_adapters, tuple(part.merged_adapters), scaling))
    return state


def without_lora_name(name: str) -> str:
    """Name of a weight as a model without PEFT has it: an adapted layer's own weights lie under `base_layer`, those of a module of which PEFT trains
    a copy under `original_module`."""
    return name.replace(".base_layer.", ".").replace(".original_module.", ".")


def is_lora_key(key: str) -> bool:
    """Whether a state-dict key names a LoRA weight."""
    return ".lora_A." in key or ".lora_B." in key


def is_adapter_key(key: str) -> bool:
    """Whether a state-dict key belongs to an adapter (LoRA, audio patch embedding, heads), not to the base LLM."""
    return is_lora_key(key) or key.removeprefix("model.").startswith(
        ("embed_audio.", "subword_ctc_head.", "character_ctc_head.")
    )


def is_own_key(key: str) -> bool:
    """Whether a key of a student's own state dict belongs to its adapter, not to the base LLM or to another adapter that PEFT put on top."""
    if ".lora_" in key:
        return f".{ADAPTER_NAME}." in key
    return is_adapter_key(key) and ".modules_to_save." not in key


def canonical_key(key: str) -> str:
    """Name of an adapter's tensor, the same for a student with a head and without, and whatever PEFT calls the adapter."""
    return _PEFT_ADAPTER.sub(r"\1", without_lora_name(key.removeprefix("model.")))


_PEFT_ADAPTER = re.compile(r"(?<=\.)(lora_[AB])\.\w+(?=\.weight$)")


def merged_weight(layer: Any, name: str) -> torch.Tensor:
    """Weight of a LoRA layer with its adapter merged in, by PEFT, of shape `(out_features, in_features)`; a new tensor.

    Raises:
        ValueError: the base layer is quantised, so that its weight cannot take a low-rank update exactly.
    """
    weight = layer.get_base_layer().weight
    if layer.lora_A[ADAPTER_NAME].student_is_merged:
        return weight.detach().clone()
    if type(weight) not in (nn.Parameter, torch.Tensor) or not weight.is_floating_point():
        raise ValueError(
            f"{name} is quantised ({type(weight).__name__}), so LoRA cannot be merged into it. "
            "Load the student without `quantization_config`, merge, then quantise the merged checkpoint."
        )
    return (weight + layer.get_delta_weight(ADAPTER_NAME).to(weight.dtype)).detach()
