"""Which learning rate each trained weight has."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, TypeAlias

from torch import nn

from .training_args import AuraTrainingArguments


Part: TypeAlias = Literal["lora", "audio_embedding", "heads"]
"""What has a learning rate of its own."""


def part_of(name: str) -> Part:
    """To which part a parameter of [`ForwardPass`] or of the student belongs, by its name."""
    if name.startswith("heads.") or "_ctc_head." in name:
        return "heads"
    return "audio_embedding" if ".embed_audio." in name else "lora"


def learning_rates(args: AuraTrainingArguments) -> dict[Part, float]:
    """The learning rate of each part; 0 = it stays as it is."""

    def either(value: float | None) -> float:
        return args.learning_rate if value is None else value

    return {
        "lora": args.learning_rate,
        "audio_embedding": either(args.audio_embedding_learning_rate),
        "heads": either(args.heads_learning_rate),
    }


def parameter_groups(
    named_parameters: Iterable[tuple[str, nn.Parameter]], args: AuraTrainingArguments
) -> list[dict[str, Any]]:
    """The groups of an optimizer: for each part its learning rate, and weight decay for its matrices alone."""
    rates = learning_rates(args)
    groups: dict[tuple[Part, bool], list[nn.Parameter]] = {}
    for name, parameter in named_parameters:
        if parameter.requires_grad:
            # Norm gains and biases are vectors, which weight decay should not pull to zero.
            groups.setdefault((part_of(name), parameter.ndim > 1), []).append(parameter)
    return [
        {"params": parameters, "lr": rates[part], "weight_decay": args.weight_decay if has_decay else 0.0}
        for (part, has_decay), parameters in groups.items()
    ]
