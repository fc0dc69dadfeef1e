"""A small training run, started by `test_trainer.py` with one process and under torchrun with two."""

import json
import sys
from pathlib import Path

import torch

from tests.distillation.support import HEAD_WEIGHTS, HEADS, tiny_rows, tiny_trainer


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
    trainer.accelerator.end_training()


if __name__ == "__main__":
    main()
