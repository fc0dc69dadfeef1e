"""How a command computes: in which number format, and where."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import typer


class Dtype(str, Enum):
    """What weights are loaded in."""

    auto = "auto"
    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"


DtypeOption = Annotated[Dtype, typer.Option(help="auto: as stored, or float32 where the processor is faster so.")]
DeviceOption = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps; the best there is without it.")]


def check_device(device: str | None) -> None:
    """
    That there is such a device, before anything is loaded.

    Raises:
        typer.BadParameter: there is none on this machine, or none that this build of torch knows.
    """
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
