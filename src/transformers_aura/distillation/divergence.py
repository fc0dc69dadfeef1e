"""A training whose loss, gradients or weights are no numbers any more ends at once, before they get into a weight or a checkpoint."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch


class TrainingDivergedError(RuntimeError):
    """A loss, a gradient or a weight is NaN or infinite. The message says at which step, what was finite last, and what to do."""


class DivergenceWatch:
    """Looks at the loss and the gradients of each step before the optimizer gets them: when it raises, the weights are those of the step before.

    Costs one transfer from the device a step, and with several processes one reduction of two numbers, by which all of them stop together.
    """

    def __init__(self) -> None:
        self._losses: list[torch.Tensor] = []
        self._last_finite: tuple[int, float] | None = None

    def add(self, loss: torch.Tensor) -> None:
        """The loss of one micro-batch, a scalar, normalised over the whole step."""
        self._losses.append(loss.detach().float())

    def check_step(
        self, accelerator: Any, step: int, gradient_norm: torch.Tensor | float, learning_rates: Iterable[float]
    ) -> str | None:
        """What is wrong with a step whose gradients are complete, in all processes alike; `None` = nothing.

        A gradient that overflows under the loss scale of float16 is not wrong: the optimizer leaves the step out and the scale is halved.

        Args:
            accelerator (`accelerate.Accelerator`): of the training.
            step: number of the step, from 1.
            gradient_norm: of all gradients, before clipping.
            learning_rates: of the optimizer's groups.
        """
        loss = torch.stack(self._losses).sum()
        self._losses.clear()
        norm = torch.as_tensor(gradient_norm, device=loss.device).float()
        mean_loss, norm_value = accelerator.reduce(torch.stack([loss, norm]), "mean").tolist()
        scaler = getattr(accelerator, "scaler", None)
        may_overflow = scaler is not None and scaler.get_scale() > 1
        if math.isfinite(mean_loss) and (math.isfinite(norm_value) or may_overflow):
            self._last_finite = (step, mean_loss)
            return None
        what = f"the loss is {mean_loss}"
        if math.isfinite(mean_loss):
            what = f"the loss is {mean_loss:.4g}, but the norm of its gradients {norm_value}"
        rates = ", ".join(f"{rate:.3g}" for rate in dict.fromkeys(learning_rates))
        before = "no step before was finite"
        if self._last_finite is not None:
            last_step, last_loss = self._last_finite
            before = f"the last finite loss was {last_loss:.4g}, at step {last_step}"
        return f"at step {step} {what}, at a learning rate of {rates}; {before}."

    @property
    def advice(self) -> str:
        """What to do about it."""
        if self._last_finite is None:
            return "Look for the cause in the data and in the base LLM: is it one that overflows in float16 (use bfloat16 or float32)?"
        return "Lower `learning_rate`, warm up longer (`warmup_steps`), lower `max_grad_norm`, or use `bf16` in place of `fp16`."


def nonfinite_names(tensors: Mapping[str, torch.Tensor]) -> list[str]:
    """Names of the tensors that hold a NaN or an infinity."""
    floating = {name: tensor for name, tensor in tensors.items() if tensor.is_floating_point()}
    if not floating:
        return []
    are_finite = torch.stack([tensor.isfinite().all() for tensor in floating.values()]).tolist()
    return [name for name, is_finite in zip(floating, are_finite, strict=True) if not is_finite]
