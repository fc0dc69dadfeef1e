"""The number format that trains fastest on this machine's processor."""

from typing import Any

import torch

from transformers_aura.modeling.dtypes import cpu_multiplies


FLOAT32 = ("model.dtype=float32", "teacher.dtype=float32", "training.bf16=false")


def precision_settings(training: dict[str, Any]) -> list[str]:
    """Settings, `key=value`, that turn a recipe for the CPU in bfloat16 to float32 where bfloat16 is no gain; said aloud.

    Args:
        training: that part of the recipe.
    """
    if not (training.get("use_cpu") and training.get("bf16")) or cpu_multiplies(torch.bfloat16):
        return []
    print("This processor has no instructions for bfloat16: training in float32.", flush=True)
    return list(FLOAT32)
