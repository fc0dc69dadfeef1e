"""A student's saved adapter: read, compared with the model that it goes into, and copied into it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from safetensors.torch import load_file

from ..repo_files import damage_of
from .adapter import canonical_key, is_adapter_key, is_own_key


class AdapterMismatchError(ValueError):
    """A student's saved adapter and the model that it should go into do not belong together."""


def load_adapter_weights(student: Any, adapter: str | os.PathLike | Mapping[str, torch.Tensor]) -> None:
    """Copies every adapter tensor into `student`.

    Args:
        student: a compact one.
        adapter: a compact `model.safetensors`, or a state dict, whose tensors of the base LLM are left out, as in what is saved.

    Raises:
        AdapterMismatchError: naming the tensors that are missing, unexpected, of another shape, or that hold what no weights can be; or
            the file, which cannot be read.
    """
    if isinstance(adapter, Mapping):
        where, what = "`state_dict`", "`config`"
        saved = {key: tensor for key, tensor in adapter.items() if is_adapter_key(key)}
    else:
        where, what = os.fspath(adapter), "its config.json"
        if problem := damage_of(adapter):
            raise AdapterMismatchError(problem)
        try:
            saved = load_file(adapter)
        except Exception as error:
            raise AdapterMismatchError(
                f"{where} cannot be read as safetensors ({error}). Delete it and fetch it again."
            ) from error
    names = [canonical_key(key) for key in saved]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise AdapterMismatchError(f"{where} holds more than one adapter: {listed(twice)}.")
    saved = dict(zip(names, saved.values(), strict=True))
    own = {canonical_key(key): parameter for key, parameter in student.named_parameters() if is_own_key(key)}
    offloaded = [key for key, parameter in own.items() if parameter.is_meta]
    if offloaded:
        raise AdapterMismatchError(
            f"{listed(offloaded)} would sit on layers that `device_map` offloads, where LoRA does not act. Keep the first "
            f"{student.config.lora_num_layers} decoder layers on a device."
        )
    problems = []
    if missing := sorted(own.keys() - saved.keys()):
        problems.append(f"missing: {listed(missing)}")
    if unexpected := sorted(saved.keys() - own.keys()):
        problems.append(f"unexpected: {listed(unexpected)}")
    for key in sorted(own.keys() & saved.keys()):
        if own[key].shape != saved[key].shape:
            problems.append(f"{key} has shape {tuple(saved[key].shape)}, the model's is {tuple(own[key].shape)}")
        if saved[key].dtype not in _DTYPES:
            problems.append(
                f"{key} has the type {str(saved[key].dtype).removeprefix('torch.')}, which no weights of an adapter have"
            )
    if not problems and (wrong := not_finite((key, tensor.to(own[key].dtype)) for key, tensor in saved.items())):
        problems.append(f"NaN, infinite or too large for the student's {student.dtype}: {listed(wrong)}")
    if problems:
        raise AdapterMismatchError(f"The adapter in {where} does not fit {what}:\n  " + "\n  ".join(problems))
    with torch.no_grad():
        for key, parameter in own.items():
            parameter.copy_(saved[key])


_DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


def not_finite(tensors: Iterable[tuple[str, torch.Tensor]]) -> list[str]:
    """Names of the tensors in memory that hold NaN or infinite numbers."""
    return [
        name
        for name, tensor in tensors
        if type(tensor) in (torch.Tensor, torch.nn.Parameter)  # not quantised
        and tensor.is_floating_point()
        and not tensor.is_meta
        and not bool(tensor.detach().isfinite().all())
    ]


def listed(names: list[str], shown: int = 4) -> str:
    """Names for a message, the first few of them."""
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more
