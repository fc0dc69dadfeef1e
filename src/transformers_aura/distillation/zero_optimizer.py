"""DeepSpeed's ZeRO as an optimizer: it gets the gradients when a step has all of them, and nothing else of the training.

Each process keeps and updates its part of the optimizer's state. DeepSpeed is not told of the model, so that it reduces nothing inside of backward: which parameters
get gradients first depends on the rows of a process, and DeepSpeed sends them in the order in which they come.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from transformers import Trainer

from .training_args import AuraTrainingArguments
from .zero import Zero


class ZeroOptimizer(torch.optim.Optimizer):
    """
    An optimizer whose state is divided over the processes; what it saves is that of the optimizer in it, whole.

    All of its methods must be called by all processes, but for `state_dict`, which is whole inside of `whole_state` and else empty.

    Args:
        optimizer (`torch.optim.Adam`): with all that is trained, whole in every process.
        zero: what is divided.
        max_grad_norm: gradients are clipped to this norm; 0 = not at all.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, zero: Zero, max_grad_norm: float) -> None:
        import deepspeed

        if not isinstance(optimizer, (torch.optim.Adam, torch.optim.AdamW)):
            raise ValueError(f"DeepSpeed takes Adam or AdamW of torch here, got {type(optimizer).__name__}.")
        super().__init__([dict(group) for group in optimizer.param_groups], optimizer.defaults)
        # DeepSpeed gets twins that share the memory of the weights: backward does not know them, and so does not run its hooks.
        self._twins = [[nn.Parameter(weight.data) for weight in group["params"]] for group in self.param_groups]
        for group, twins in zip(optimizer.param_groups, self._twins, strict=True):
            group["params"] = twins
        stage = min(zero.stage, 2)  # of 3, FSDP2 does the rest
        self._engine, *_ = deepspeed.initialize(
            model=nn.ParameterList(twin for twins in self._twins for twin in twins),
            optimizer=optimizer,
            config={
                "train_micro_batch_size_per_gpu": 1,  # batches are not its business
                "gradient_clipping": max_grad_norm,
                "zero_optimization": {"stage": stage, **zero.buckets},
            },
        )
        self._optimizer = optimizer
        for weight, twin in self._pairs():
            weight.data = twin.data  # DeepSpeed has moved them together

    def _pairs(self) -> list[tuple[nn.Parameter, nn.Parameter]]:
        groups = zip(self.param_groups, self._twins, strict=True)
        return [pair for group, twins in groups for pair in zip(group["params"], twins, strict=True)]

    def reduce_gradients(self) -> None:
        """Average the gradients over the processes, each of which keeps its part."""
        for weight, twin in self._pairs():
            twin.grad = torch.zeros_like(weight) if weight.grad is None else weight.grad
            weight.grad = None
        with self._engine.coalesce_grad_reduction():
            pass  # it reduces, in the order of the parameters, what has come until it ends

    def gradient_norm(self) -> torch.Tensor:
        """Of all gradients that were reduced, before clipping; infinite where one is no number."""
        return self._engine.optimizer.scaled_global_norm()

    def step(self, closure: Any = None) -> None:
        """Each process updates its part of the weights, and all get them."""
        for group, own in zip(self._optimizer.param_groups, self.param_groups, strict=True):
            group |= {name: value for name, value in own.items() if name != "params"}
        self._engine.step()

    def take_over_weights(self) -> None:
        """Go on from the weights as they are now, where something else has changed them."""
        self._engine.optimizer.refresh_fp32_params()

    @contextmanager
    def whole_state(self, is_kept: bool) -> Iterator[None]:
        """Gather the state from all processes, for `state_dict`.

        Args:
            is_kept: whether this process gets it, in the memory of its CPU.
        """
        from deepspeed.utils import lazy_init_hp_params_optimizer_state, safe_get_full_optimizer_state

        for own, group, twins in zip(self.param_groups, self._optimizer.param_groups, self._twins, strict=True):
            (part,) = group["params"]
            # DeepSpeed itself connects weights with their state at its first step: of the first group alone.
            lazy_init_hp_params_optimizer_state(twins, part, self._optimizer.state)
            for name, value in self._optimizer.state[part].items():
                for weight, twin in zip(own["params"], twins, strict=True):
                    whole = value if name == "step" else safe_get_full_optimizer_state(twin, name)
                    if is_kept:
                        self.state[weight][name] = whole.to("cpu", copy=True)
        yield
        self.state.clear()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Each process takes its part of a whole state."""
        from deepspeed.utils import lazy_init_hp_params_optimizer_state, safe_set_full_optimizer_state

        super().load_state_dict(state_dict)
        for own, group, twins in zip(self.param_groups, self._optimizer.param_groups, self._twins, strict=True):
            (part,) = group["params"]
            whole = [self.state.get(weight, {}) for weight in own["params"]]
            for name, value in whole[0].items():
                self._optimizer.state[part][name] = value if name == "step" else torch.zeros_like(part)
            lazy_init_hp_params_optimizer_state(twins, part, self._optimizer.state)
            for twin, state in zip(twins, whole, strict=True):
                for name in state.keys() - {"step"}:
                    safe_set_full_optimizer_state(twin, state[name], name)
        self.state.clear()


class ZeroTrainer(Trainer):
    """A `Trainer` whose optimizer is a [`ZeroOptimizer`] where that was asked for."""

    args: AuraTrainingArguments
    _zero_optimizer: ZeroOptimizer | None = None

    def _divide_optimizer(self) -> None:
        """Put DeepSpeed around the optimizer, once, before accelerate prepares it."""
        if self._zero_optimizer is not None:
            self._zero_optimizer.take_over_weights()
        elif self.args.zero is not None:
            self._zero_optimizer = ZeroOptimizer(self.optimizer, self.args.zero, self.args.max_grad_norm)
            self.optimizer = self._zero_optimizer

    def _clip_grad_norm(self, model: nn.Module) -> Any:
        if self._zero_optimizer is None:
            return super()._clip_grad_norm(model)
        return self._zero_optimizer.gradient_norm()  # its step clips

    def _get_grad_norm(self, model: nn.Module, grad_norm: Any = None) -> Any:
        if self._zero_optimizer is not None and grad_norm is None:
            grad_norm = self._zero_optimizer.gradient_norm()
        return super()._get_grad_norm(model, grad_norm=grad_norm)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        divided = self._zero_optimizer
        with nullcontext() if divided is None else divided.whole_state(is_kept=self.args.should_save):
            super()._save_optimizer_and_scheduler(output_dir)
