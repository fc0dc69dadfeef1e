"""How a command computes: in which number format, and where."""

from __future__ import annotations

import os
from enum import Enum
from typing import Annotated

import typer


class Dtype(str, Enum):
    """What weights are loaded in."""

    auto = "auto"
    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"


DtypeOption = Annotated[
    Dtype, typer.Option(help="auto: the stored format, or float32 where that is faster on the CPU.")
]
DeviceOption = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1 or mps. Default: the best available.")]


GROUPED_ATTENTION = "TRANSFORMERS_SDPA_FORCE_GQA"
"""Environment variable of transformers: attention with a mask reads the keys and values of a group of heads once, in place of copies of them for every
head. Faster on a CPU, and slower on a GPU, whose kernels for it take no mask. transformers 5.24 heeds it, 5.19 does not."""


def prepare_device(device: str | None) -> None:
    """
    Checks that there is such a device, before anything is loaded; on a CPU, attention with a mask takes the faster way from here on in this process.

    Raises:
        typer.BadParameter: there is none on this machine, or none that this build of torch knows.
    """
    if (best_device() if device is None else device) == "cpu":
        os.environ.setdefault(GROUPED_ATTENTION, "1")
    if device is None:
        return
    import torch

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise typer.BadParameter(
            f"'{device}' cannot be used here: {reason}. The best there is here: {best_device()}.",
            param_hint="--device",
        ) from error


def best_device() -> str:
    """The accelerator, where there is one."""
    import torch

    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return "cpu" if accelerator is None else str(accelerator)
