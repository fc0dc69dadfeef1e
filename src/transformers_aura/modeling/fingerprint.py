"""Tells one LLM from another, or from a fine-tune of it, by a few values of every weight."""

from __future__ import annotations

import base64

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel

from .adapter import is_lora_key


_SAMPLES_PER_TENSOR = 2


def fingerprint(language_model: PreTrainedModel) -> str:
    """Two values of every weight of the base LLM, in bfloat16, as base64.

    Weights that are quantised or not in memory count as NaN, which matches anything. One that is NaN itself counts as infinite.
    """
    samples = []
    for name, parameter in sorted(language_model.named_parameters()):
        if is_lora_key(name):
            continue
        if type(parameter) is nn.Parameter and parameter.is_floating_point() and not parameter.is_meta:
            positions = [parameter.numel() * (i + 1) // (_SAMPLES_PER_TENSOR + 1) for i in range(_SAMPLES_PER_TENSOR)]
            values = parameter.detach().view(-1)[positions].to(torch.bfloat16).cpu().nan_to_num(nan=float("inf"))
        else:
            values = torch.full((_SAMPLES_PER_TENSOR,), float("nan"), dtype=torch.bfloat16)
        samples.append(values)
    return base64.b64encode(torch.cat(samples).view(torch.int16).numpy().tobytes()).decode("ascii")


def fingerprints_match(expected: str, found: str) -> bool:
    """Whether two fingerprints are of the same LLM, which may have been stored or loaded in different dtypes."""
    expected_values, found_values = (
        torch.from_numpy(np.frombuffer(base64.b64decode(text), dtype=np.int16).copy()).view(torch.bfloat16).float()
        for text in (expected, found)
    )
    if expected_values.shape != found_values.shape:
        return False
    known = ~(found_values.isnan() | expected_values.isnan())
    expected_values, found_values = expected_values[known], found_values[known]
    # Another dtype on the way may round one value in sixteen to the next bfloat16; a fine-tune moves many more.
    close = torch.isclose(found_values, expected_values, rtol=2**-7, atol=1e-6)
    exact = found_values == expected_values
    return bool(close.all()) and exact.float().mean().item() > 0.9
