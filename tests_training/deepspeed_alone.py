"""Why DeepSpeed is handed gradients and no model: what it makes of one batch by itself, around the whole model, where one of two processes has no audio.

    torchrun --standalone --nproc_per_node 2 -m tests_training.deepspeed_alone FOLDER STAGE

prints by how much the gradients differ from their mean over the processes, relative to the largest one of a weight. Stage 3 ends in an error instead.
"""

import sys
from pathlib import Path

import deepspeed
import torch
from deepspeed.utils import safe_get_full_grad

import tests_training.deepspeed_run  # noqa: F401 (gloo alone)
from tests_training.sharded_run import trainer_of


def main() -> None:
    trainer = trainer_of(Path(sys.argv[1]), "alone", 2)
    trainer._ensure_statistics()
    student, module = trainer.model, trainer.forward_pass
    for batch in map(trainer._prepare_inputs, trainer.get_train_dataloader()):
        has_audio = (batch["input_ids"] == student.config.audio_token_id).any().float()
        if trainer.accelerator.reduce(has_audio, "sum") == 1:
            break
    weights = {name: weight for name, weight in module.named_parameters() if weight.requires_grad}
    expected = torch.autograd.grad(
        trainer._sums(module, batch, list(trainer.objectives)).sum(), list(weights.values())
    )
    for gradient in expected:
        torch.distributed.all_reduce(gradient)
    engine, *_ = deepspeed.initialize(
        model=module,
        optimizer=trainer.create_optimizer(),
        config={
            "train_micro_batch_size_per_gpu": 1,
            "zero_optimization": {"stage": int(sys.argv[2]), "stage3_param_persistence_threshold": 0},
        },
    )
    engine.backward(trainer._sums(engine, batch, list(trainer.objectives)).sum())
    difference = max(
        float((safe_get_full_grad(weight) - gradient / 2).abs().max() / (gradient / 2).abs().max().clamp(min=1e-6))
        for weight, gradient in zip(weights.values(), expected, strict=True)
    )
    print(f"largest relative difference of a gradient: {difference:.3g}")
    trainer.accelerator.end_training()


if __name__ == "__main__":
    main()
