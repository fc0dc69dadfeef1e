"""A small training run, started by `test_trainer.py` with one process and under torchrun with two."""

import json
import sys
from pathlib import Path

import torch
from transformers import EvalPrediction

from tests.distillation.support import HEAD_WEIGHTS, HEADS, tiny_rows, tiny_trainer
from transformers_aura.distillation.divergence import TrainingDivergedError


def main() -> None:
    folder, name = Path(sys.argv[1]), sys.argv[2]
    processes = int(torch.distributed.is_torchelastic_launched()) + 1
    # The processes' rows differ in length and kind, one has no audio at all in some steps: nothing averages out by chance.
    rows = tiny_rows(7)
    rows.insert(1, {"audio": None, "question": "Who?", "answer": "I am."})
    trainer = tiny_trainer(
        folder,
        name,
        student={"lora_scope": "always", "character_ctc_alphabet": HEADS["character_ctc_alphabet"]},
        train_dataset=rows,
        eval_dataset=rows[:5],
        per_device_train_batch_size=2 // processes,
        gradient_accumulation_steps=2,
        max_steps=4,
        answer_kl_weight=0.5,
        distillation_warmup_steps=1,
        character_ctc_weight=HEAD_WEIGHTS["character_ctc_weight"],
        layer_mapping=[[0, 2]],
        generation_max_new_tokens=4,
        compute_metrics=figures_of,
    )
    assert trainer.args.world_size == processes
    trainer.train()
    metrics = trainer.evaluate()
    if trainer.is_world_process_zero():
        result = {
            "processes": processes,
            "logs": [entry for entry in trainer.state.log_history if "loss" in entry],
            "metrics": {key: value for key, value in metrics.items() if "second" not in key and "runtime" not in key},
            "weights": {
                key: parameter.flatten()[:5].tolist()
                for key, parameter in trainer.forward_pass.named_parameters()
                if parameter.requires_grad
            },
        }
        (folder / f"{name}.json").write_text(json.dumps(result))
    (folder / f"{name}-diverged-{trainer.args.process_index}.txt").write_text(diverge(folder, name, rows))
    trainer.accelerator.end_training()


def figures_of(prediction: EvalPrediction) -> dict[str, float]:
    """Figures that tell which answers there are, and in which order."""
    assert [asked["row"] for asked in prediction.inputs] == list(range(5))
    assert prediction.label_ids[1] == "I am."
    return {f"answer_{row}": sum(map(ord, text)) for row, text in enumerate(prediction.predictions)}


def diverge(folder: Path, name: str, rows: list) -> str:
    """What each process says when the loss of the last one alone is no number at step 2."""
    trainer = tiny_trainer(
        folder,
        f"{name}-diverged",
        student={"lora_scope": "always"},
        train_dataset=rows,
        per_device_train_batch_size=1,
        max_steps=3,
        save_strategy="steps",
        save_steps=1,
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


if __name__ == "__main__":
    main()
