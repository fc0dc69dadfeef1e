"""The number format that trains fastest on this machine's processor."""

from typing import Any

import torch


FLOAT32 = ("model.dtype=float32", "teacher.dtype=float32", "training.bf16=false")


def multiplies_bfloat16() -> bool:
    """Whether the processor has instructions for matrix products in bfloat16; without them they are several times slower than in float32."""
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "arm_bf16", "bf16"))


def precision_settings(training: dict[str, Any]) -> list[str]:
    """Settings, `key=value`, that turn a recipe for the CPU in bfloat16 to float32 where bfloat16 is no gain; said aloud.

    Args:
        training: that part of the recipe.
    """
    if not (training.get("use_cpu") and training.get("bf16")) or multiplies_bfloat16():
        return []
    print("This processor has no instructions for bfloat16: training in float32.", flush=True)
    return list(FLOAT32)
