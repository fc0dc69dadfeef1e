"""Small trainings in two processes with DeepSpeed, started by `test_deepspeed.py` under torchrun and under `accelerate launch`."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import deepspeed.ops
import torch
from transformers import TrainerCallback

from tests_training.sharded_run import ON_POLICY, RESTING_LORA, SETTINGS, diverge, run, trainer_of
from transformers_aura.distillation.trainer import AuraTrainer


# On CPUs DeepSpeed would compile a library of its own for minutes, to talk through shared memory in the place of gloo.
deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False

HALF: dict[str, Any] = {
    "student": {**SETTINGS["student"], "dtype": "bfloat16"},
    "gradient_checkpointing": True,
    "text_state_weight": 0.0,
}


def zero(stage: int, **settings: Any) -> dict[str, Any]:
    """The training argument that asks for a stage."""
    return {"deepspeed": {"zero_optimization": {"stage": stage, **settings}, "bf16": {"enabled": "auto"}}}


def optimizer_numbers(trainer: AuraTrainer) -> tuple[int, int]:
    """How many numbers the optimizer of a process holds, and how many are trained."""
    states = trainer._zero_optimizer._optimizer.state.values()
    weights = (weight for weight in trainer.forward_pass.parameters() if weight.requires_grad)
    return sum(value.numel() for state in states for value in state.values()), sum(map(torch.numel, weights))


def launched(folder: Path) -> None:
    """What `accelerate launch` asked for comes true, in the middle of a run that one process began."""
    trainer = run(folder, "launched", 2, folder / "one" / "checkpoint-2")
    (folder / f"launched-{trainer.args.process_index}.txt").write_text(str(trainer.args.zero))
    assert os.environ["ACCELERATE_USE_DEEPSPEED"] == "true"
    trainer.accelerator.end_training()


class DiesAtOnce(TrainerCallback):
    """Ends the last process without a word, in the middle of step 3."""

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == 2 and args.process_index == args.world_size - 1:
            os._exit(9)


def main() -> None:
    folder = Path(sys.argv[1])
    if "launched" in sys.argv:
        launched(folder)
        return
    if "killed" in sys.argv:
        run(folder, "killed", 2, **zero(2), callbacks=[DiesAtOnce()])
        return
    run(folder, "zero1", 2, **zero(1))
    trainer = run(folder, "zero2", 2, **zero(2))
    held = optimizer_numbers(run(folder, "zero3", 2, **zero(3)))
    (folder / f"held-{trainer.args.process_index}.json").write_text(json.dumps([optimizer_numbers(trainer), held]))
    run(folder, "zero2_of_one", 2, folder / "one" / "checkpoint-2", **zero(2))
    run(folder, "zero2_on_policy", 2, **zero(2), **ON_POLICY)
    run(
        folder, "zero2_resting_lora", 2, **zero(2, reduce_bucket_size=1000, allgather_bucket_size=1000), **RESTING_LORA
    )
    run(folder, "zero3_resting_lora", 2, **zero(3), **RESTING_LORA)
    run(folder, "ddp_bfloat16", 2, **HALF)
    run(folder, "fsdp_bfloat16", 2, fsdp=True, **HALF)
    run(folder, "zero2_bfloat16", 2, **zero(2), **HALF)
    run(folder, "zero3_bfloat16", 2, **zero(3), **HALF)
    try:
        trainer_of(folder, "zero3", 2, **zero(3), **ON_POLICY)
    except ValueError as error:
        (folder / "zero3_on_policy.txt").write_text(str(error))
    for name, stage in {"zero2": 2, "zero3": 3}.items():
        said = diverge(folder, f"{name}_diverged", **zero(stage))
        (folder / f"{name}-diverged-{trainer.args.process_index}.txt").write_text(said)
    trainer.accelerator.end_training()


if __name__ == "__main__":
    main()
