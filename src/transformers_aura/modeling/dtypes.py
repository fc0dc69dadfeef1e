"""The floating-point format that a student is loaded in when nobody names one: never slower than float32 on a CPU; and that it is computed in."""

from __future__ import annotations

import functools
import platform
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, TypeVar

import torch

from .configuration_aura import AuraConfig


DeviceMap: TypeAlias = "str | int | torch.device | Mapping[str, Any] | None"


def choose_dtype(config: AuraConfig, kwargs: dict[str, Any]) -> torch.dtype | None:
    """Puts the format to load in into `kwargs` of `from_pretrained`, where they name none.

    Returns:
        the format that the weights are stored in, where it is another one; otherwise `None`.
    """
    is_named = any(kwargs.get(name) not in (None, "auto") for name in ("dtype", "torch_dtype", "quantization_config"))
    # An Auto class that is given `dtype=None` writes that into the config.
    stored = config.dtype or config.text_config.dtype
    if is_named or stored is None or "quantization_config" in vars(config):
        return None
    if isinstance(stored, str):
        stored = getattr(torch, stored, stored)
    if not isinstance(stored, torch.dtype) or not stored.is_floating_point:
        raise ValueError(
            f"`dtype` in config.json must be a floating-point format of torch, such as 'bfloat16', got {stored!r}."
        )
    kwargs["dtype"] = default_dtype(stored, kwargs.get("device_map"))
    return None if kwargs["dtype"] == stored else stored


def default_dtype(stored: torch.dtype, device_map: DeviceMap = None) -> torch.dtype:
    """The format to load weights in that are stored as `stored`.

    Args:
        stored: what the config names.
        device_map: where the weights go, as in `from_pretrained`.

    Returns:
        `stored`, or float32 where the weights stay on a CPU that does not multiply `stored` itself: it would widen the same weights
        to float32 anew for every product.
    """
    if stored.itemsize >= torch.float32.itemsize or not stays_on_cpu(device_map) or cpu_multiplies(stored):
        return stored
    return torch.float32


def cpu_multiplies(dtype: torch.dtype) -> bool:
    """Whether this processor has instructions that multiply numbers of a 16-bit format, and torch's kernels use them.

    That is bfloat16 with AVX-512 BF16 on x86 (every processor with AMX has it) and with the BF16 extension on ARM. AVX-512 alone
    and AVX-NE-CONVERT, which torch's own check lets pass on x86, only convert. Of float16 it is never assumed: few processors have
    it, and not every kernel uses it.
    """
    if dtype != torch.bfloat16 or not torch.backends.mkldnn.is_available():  # its kernels are the ones that use them
        return False
    if platform.machine().lower() in ("arm64", "aarch64"):
        return torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return torch.cpu._is_avx512_bf16_supported()


def stays_on_cpu(device_map: DeviceMap) -> bool:
    """Whether weights that are loaded by `device_map` are computed with on the CPU.

    Without a `device_map` they are, unless the machine has an accelerator: a `to("cuda")`, or a pipeline's, follows then.
    """
    if isinstance(device_map, Mapping):
        return all(place in ("cpu", "disk") or _is_cpu(place) for place in device_map.values())
    if device_map is None or device_map in ("auto", "balanced", "balanced_low_0", "sequential"):
        return _is_cpu(torch.get_default_device()) and not torch.accelerator.is_available()
    return _is_cpu(device_map)


def _is_cpu(device: str | int | torch.device) -> bool:
    return not isinstance(device, int) and torch.device(device).type == "cpu"  # a number is an accelerator's


def narrowed(weights: Mapping[str, torch.Tensor], dtype: torch.dtype) -> dict[str, torch.Tensor] | None:
    """`weights` in a shorter format; `None` if a value would change by that. Tied weights stay tied."""
    copies: dict[tuple[int, torch.Size], torch.Tensor] = {}
    narrow = {}
    for name, weight in weights.items():
        if weight.is_meta:
            return None
        if not weight.is_floating_point():
            narrow[name] = weight
            continue
        place = (weight.data_ptr(), weight.shape)
        if place not in copies:
            copies[place] = weight.to(dtype)
            if not torch.equal(copies[place].to(weight.dtype), weight):
                return None
        narrow[name] = copies[place]
    return narrow


MethodT = TypeVar("MethodT", bound=Callable[..., Any])


def without_autocast(method: MethodT) -> MethodT:
    """A method of a model or a pipeline that computes in the format of the weights, also inside of `torch.autocast`, as in an evaluation while
    training: what it finds is compared with thresholds.
    """

    @functools.wraps(method)
    def run(self: Any, *args: Any, **kwargs: Any) -> Any:
        with torch.autocast(self.device.type, enabled=False):
            return method(self, *args, **kwargs)

    return run  # type: ignore[return-value]
