"""The frozen base LLM in shards over the processes of a training: each keeps a part of every decoder layer and gathers a layer when it runs.

torch's FSDP2 (`fully_shard`) does it. What is trained (LoRA, patch embedding, heads) is small beside the base and stays whole in every process, which average its
gradients once a step: optimizer and checkpoints are those of a training without shards, to the file. Embedding and LLM head stay whole, too: a step needs them
from its begin to its end.
"""

from __future__ import annotations

import os
from itertools import chain
from typing import Any

import torch
from torch import nn

from ..modeling.adapter import is_adapter_key
from .forward_pass import ForwardPass
from .launching import hidden_from_accelerate
from .training_args import AuraTrainingArguments
from .zero_optimizer import ZeroTrainer


def shard_base(forward_pass: ForwardPass, args: AuraTrainingArguments) -> None:
    """Keep a part of each decoder layer's frozen weights, all else whole, and move it to the device of this process; in place.

    Args:
        forward_pass: the student, whole, and the heads.
        args: with `sharding`.

    Raises:
        ValueError: the base LLM's weights cannot be divided (they are quantised), or its layers are no modules of the named class.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method
    from torch.distributed.tensor import DTensor

    sharding = args.sharding
    assert sharding is not None
    student = forward_pass.student
    layers = student.model.language_model.layers
    check_can_be_sharded(layers, sharding.layer_classes)
    num_processes = args.world_size
    group_size = int(os.environ.get("LOCAL_WORLD_SIZE") or num_processes) if sharding.within_node else num_processes
    shape = (num_processes // group_size, group_size)
    mesh = init_device_mesh(args.device.type, shape, mesh_dim_names=("copies", "shards"))["shards"]
    # Also LoRA that rests (a learning rate of 0): it is saved.
    whole = {parameter for name, parameter in student.named_parameters() if is_adapter_key(name)}
    for layer in layers:
        fully_shard(layer, mesh=mesh, reshard_after_forward=sharding.reshard_after_forward, ignored_params=whole)
    # The root, which holds nothing itself: FSDP plans its layers together where all of them are inside of one.
    rest = {parameter for parameter in forward_pass.parameters() if not isinstance(parameter, DTensor)}
    fully_shard(forward_pass, mesh=mesh, ignored_params=rest)
    register_fsdp_forward_method(forward_pass, "answer")
    for tensor in chain(forward_pass.parameters(), forward_pass.buffers()):
        if not isinstance(tensor, DTensor):
            tensor.data = tensor.data.to(args.device)
            torch.distributed.broadcast(tensor.data, src=0)
    forward_pass.keep_in_step()


def average_gradients(module: nn.Module) -> None:
    """Make the gradients of all trainable parameters, each whole in every process, their mean over the processes."""
    gradients = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
    for reduction in [torch.distributed.all_reduce(gradient, async_op=True) for gradient in gradients]:
        reduction.wait()
    for gradient in gradients:
        gradient /= torch.distributed.get_world_size()


def check_can_be_sharded(layers: nn.ModuleList, layer_classes: tuple[str, ...]) -> None:
    """
    Args:
        layers: the decoder layers of the base LLM.
        layer_classes: as in [`Sharding`].

    Raises:
        ValueError: the layers are of other classes, or their weights cannot be divided (they are quantised).
    """
    classes = {type(layer).__name__ for layer in layers}
    if layer_classes and not classes <= set(layer_classes):
        raise ValueError(
            f"FSDP was asked to wrap {', '.join(layer_classes)} (`transformer_layer_cls_to_wrap`), but the decoder layers of this base LLM are "
            f"{', '.join(sorted(classes))}. Leave it out: they are wrapped by themselves."
        )
    for name, parameter in layers.named_parameters():
        if type(parameter) is not nn.Parameter or not parameter.is_floating_point():
            raise ValueError(
                f"The base LLM cannot be sharded: layer weight {name} is a {type(parameter).__name__} of {parameter.dtype}. Load the student without "
                "`quantization_config`, or train without FSDP."
            )


class ShardedTrainer(ZeroTrainer):
    """A `Trainer` that shards the student's base LLM where that was asked for, and wraps [`ForwardPass`] for several processes."""

    args: AuraTrainingArguments
    forward_pass: ForwardPass

    def create_accelerator_and_postprocess(self) -> None:
        """As always, but accelerate gets to know neither of FSDP, which it would let shard what is trained too, nor of DeepSpeed, which it would let take a step
        inside of backward: both need checkpoints of their own."""
        with hidden_from_accelerate():
            super().create_accelerator_and_postprocess()

    def _move_model_to_device(self, model: nn.Module, device: torch.device) -> None:
        if self.args.sharding is None:  # else `shard_base` moves it, one layer after the other
            super()._move_model_to_device(model, device)

    def _place(self, forward_pass: ForwardPass) -> ForwardPass:
        """Bring it to the device, in shards if so asked."""
        if self.args.sharding is None:
            return forward_pass.to(self.args.device)
        shard_base(forward_pass, self.args)
        return forward_pass

    def _wrap_model(self, model: nn.Module, training: bool = True, dataloader: Any = None) -> nn.Module:
        """Prepare [`ForwardPass`] (mixed precision, DDP) where the stock Trainer prepares the bare model."""
        if self.accelerator.unwrap_model(model, keep_torch_compile=False) is not model:
            return model
        if training:
            self._divide_optimizer()
        if self.args.sharding is None and self.args.zero is None:
            return self.accelerator.prepare_model(self.forward_pass, evaluation_mode=not training)
        # Without DDP: it reduces gradients while backward gathers layers, in an order that depends on the rows of a process.
        return self.accelerator.prepare_model(self.forward_pass, device_placement=False, evaluation_mode=True)

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """See [`~transformers.Trainer.training_step`]; after the last micro-batch of a step, all processes have the same gradients."""
        loss = super().training_step(*args, **kwargs)
        if self._zero_optimizer is not None and self.accelerator.sync_gradients:
            self._zero_optimizer.reduce_gradients()
        elif self.args.sharding is not None and self.accelerator.sync_gradients:
            average_gradients(self.forward_pass)
        return loss
