"""Tells one LLM from another, or from a fine-tune of it, by a few values of every weight."""

from __future__ import annotations

import base64
from collections.abc import Mapping

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
    return joined_samples(
        {name: samples_of(weight) for name, weight in language_model.named_parameters() if not is_lora_key(name)}
    )


def samples_of(weight: torch.Tensor) -> torch.Tensor:
    """What a fingerprint keeps of one weight: `(2,)`, bfloat16."""
    if type(weight) not in (nn.Parameter, torch.Tensor) or not weight.is_floating_point() or weight.is_meta:
        return torch.full((_SAMPLES_PER_TENSOR,), float("nan"), dtype=torch.bfloat16)
    positions = [weight.numel() * (i + 1) // (_SAMPLES_PER_TENSOR + 1) for i in range(_SAMPLES_PER_TENSOR)]
    return weight.detach().reshape(-1)[positions].to(torch.bfloat16).cpu().nan_to_num(nan=float("inf"))


def joined_samples(samples: Mapping[str, torch.Tensor]) -> str:
    """The fingerprint of an LLM whose weights have these names and samples."""
    values = torch.cat([samples[name] for name in sorted(samples)])
    return base64.b64encode(values.view(torch.int16).numpy().tobytes()).decode("ascii")


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
