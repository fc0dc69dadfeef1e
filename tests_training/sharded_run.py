"""Small trainings in two processes, started by `test_sharded_training.py` under torchrun: with whole copies of the base LLM (DDP) and in shards (FSDP2)."""

import json
import os
import sys
from pathlib import Path
from typing import Any

from torch.distributed.tensor import DTensor
from torch.utils.data import Dataset
from transformers import EvalPrediction

from tests.distillation.support import HEAD_WEIGHTS, HEADS, tiny_rows, tiny_trainer
from transformers_aura.distillation.divergence import TrainingDivergedError
from transformers_aura.distillation.trainer import AuraTrainer


SETTINGS: dict[str, Any] = {
    # Rows differ in length and kind, and one is without audio: in the first step, before the LLM's head is read, one process has nothing to run.
    "student": {"lora_scope": "always", **HEADS},
    "gradient_accumulation_steps": 2,
    "max_steps": 4,
    "save_strategy": "steps",
    "save_steps": 2,
    "distillation_warmup_steps": 1,
    "layer_mapping": [[0, 2]],
    "answer_kl_weight": 0.5,
    **HEAD_WEIGHTS,
    # Adam divides by the size of a gradient: where that is rounding, so is the step, unless this is larger.
    "adam_epsilon": 1e-3,
    "generation_max_new_tokens": 4,
}

ON_POLICY = {"on_policy_weight": 0.5, "on_policy_temperature": 0.0, "on_policy_max_new_tokens": 3}
"""The student's own answers, greedily: what is drawn at random differs with the processes."""


def rows() -> list[dict[str, Any]]:
    rows = tiny_rows(7)
    rows.insert(1, {"audio": None, "question": "Who?", "answer": "I am."})
    return rows


class Rows(Dataset):
    """Rows of which nobody knows before they are read that one is without audio."""

    def __len__(self) -> int:
        return len(rows())

    def __getitem__(self, index: int) -> dict[str, Any]:
        return rows()[index]


RESTING_LORA: dict[str, Any] = {
    "student": {"lora_scope": "rows", **HEADS},
    "train_dataset": Rows(),
    "learning_rate": 0.0,
    "audio_embedding_learning_rate": 1e-3,
    "heads_learning_rate": 1e-3,
}
"""LoRA is frozen like the base LLM, and a process has a micro-batch of no row: that without audio is left out."""


def trainer_of(folder: Path, name: str, processes: int, **settings: Any) -> AuraTrainer:
    """A trainer whose steps see the same rows for any number of processes."""
    values = {**SETTINGS, "train_dataset": rows(), "per_device_train_batch_size": 2 // processes, **settings}
    trainer = tiny_trainer(folder, name, eval_dataset=rows()[:5], compute_metrics=figures_of, **values)
    assert trainer.args.world_size == processes
    return trainer


def figures_of(prediction: EvalPrediction) -> dict[str, float]:
    """Figures that tell which answers there are, and in which order."""
    assert [asked["row"] for asked in prediction.inputs] == list(range(len(prediction.inputs)))
    return {f"answer_{row}": sum(map(ord, text)) for row, text in enumerate(prediction.predictions)}


def run(folder: Path, name: str, processes: int, resume: Path | None = None, **settings: Any) -> AuraTrainer:
    """Train, evaluate and save; what was measured goes to `NAME.json`."""
    trainer = trainer_of(folder, name, processes, **settings)
    if resume is None:
        trainer.evaluate()  # before any step: what is sharded is whole for nobody
    trainer.train(resume_from_checkpoint=None if resume is None else str(resume))
    metrics = trainer.evaluate()
    trainer.save_model()
    if trainer.is_world_process_zero():
        layers = trainer.model.model.language_model.layers
        result = {
            "kinds": {type(parameter).__name__ for parameter in layers.parameters() if not parameter.requires_grad},
            "logs": [entry for entry in trainer.state.log_history if "loss" in entry],
            "metrics": {key: value for key, value in metrics.items() if "second" not in key and "runtime" not in key},
        }
        (folder / f"{name}.json").write_text(json.dumps(result, default=sorted))
    return trainer


def diverge(folder: Path, name: str, **settings: Any) -> str:
    """What a process says when the loss of the last one alone is no number at step 2."""
    trainer = trainer_of(
        folder,
        name,
        2,
        max_steps=3,
        save_steps=1,
        gradient_accumulation_steps=1,
        distillation_warmup_steps=0,
        **settings,
    )
    args, objective = trainer.args, trainer.objectives["lm"]
    loss = objective.loss

    def spoilt(outputs):
        is_last_process = args.process_index == args.world_size - 1
        # A constant: the gradients, which processes share, stay finite.
        return loss(outputs) + (float("nan") if is_last_process and trainer.state.global_step == 1 else 0.0)

    objective.loss = spoilt
    try:
        trainer.train()
    except TrainingDivergedError as error:
        return str(error)
    return "nothing"


def as_two_nodes(folder: Path) -> None:
    """Four processes that pass for two nodes of two; FSDP is asked for by the launcher."""
    os.environ["LOCAL_WORLD_SIZE"] = "2"
    trainer = run(folder, "nodes", 4, per_device_train_batch_size=1, gradient_accumulation_steps=1)
    mesh = next(
        p for p in trainer.model.model.language_model.layers.parameters() if isinstance(p, DTensor)
    ).device_mesh
    (folder / f"mesh-{trainer.args.process_index}.json").write_text(json.dumps(mesh.mesh.tolist()))
    trainer.accelerator.end_training()


def main() -> None:
    folder = Path(sys.argv[1])
    if sys.argv[2:]:
        as_two_nodes(folder)
        return
    trainer = run(folder, "ddp", 2)
    sharded = run(folder, "fsdp", 2, fsdp="full_shard").model
    try:
        trainer_of(folder, "fsdp", 2, student=sharded)
    except ValueError as error:
        (folder / "sharded_twice.txt").write_text(str(error))
    try:
        trainer_of(folder, "fsdp", 2, fsdp=True, **ON_POLICY)
    except ValueError as error:
        (folder / "sharded_on_policy.txt").write_text(str(error))
    run(folder, "ddp_on_policy", 2, **ON_POLICY)
    run(folder, "fsdp_of_one", 2, folder / "one" / "checkpoint-2", fsdp=True)
    run(folder, "fsdp_resting_lora", 2, fsdp=True, **RESTING_LORA)
    # Without the term that aligns words with sound: where rounding moves a word, its loss jumps.
    half = {
        "student": {**SETTINGS["student"], "dtype": "bfloat16"},
        "gradient_checkpointing": True,
        "text_state_weight": 0.0,
    }
    run(folder, "ddp_bfloat16", 2, **half)
    run(folder, "fsdp_bfloat16", 2, **half, fsdp=True, fsdp_config={"reshard_after_forward": False})
    for name, settings in {"ddp": {}, "fsdp": {"fsdp": True}}.items():
        said = diverge(folder, f"{name}_diverged", **settings)
        (folder / f"{name}-diverged-{trainer.args.process_index}.txt").write_text(said)
    trainer.accelerator.end_training()


if __name__ == "__main__":
    main()
