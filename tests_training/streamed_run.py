"""A training on streams, started by `test_streamed_training.py` under torchrun: writes which rows each process saw in which step, and the weights."""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from tests.distillation.support import tiny_trainer
from transformers_aura.distillation.recipe import DataSection, DataSource
from transformers_aura.distillation.streams.sources import load_stream


class KillAfter(TrainerCallback):
    """Ends the process and its workers as a machine that fails does, once the checkpoint of a step is written and a step more is taken."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == self.step + 1:
            os.killpg(os.getpgrp(), signal.SIGKILL)  # torchrun gives each process a group of its own


def main() -> None:
    settings = json.loads(sys.argv[1])
    folder = Path(settings["folder"])
    data = DataSection([DataSource(**source) for source in settings["sources"]], stream=True, shuffle_buffer=6)
    callbacks = [KillAfter(settings["kill_after"])] if settings.get("kill_after") else []
    trainer = tiny_trainer(
        folder / "models" / os.environ["RANK"],
        settings["output"],
        train_dataset=load_stream(data, seed=7),
        callbacks=callbacks,
        per_device_train_batch_size=2,
        gradient_accumulation_steps=settings.get("accumulation", 1),
        dataloader_num_workers=settings["workers"],
        max_steps=settings["steps"],
        save_strategy="steps",
        save_steps=settings.get("save_steps", 1000),
        answer_kl_weight=0.5,
        **settings.get("more", {}),
    )
    seen: list[tuple[int, int, list[str]]] = []
    make_batches = trainer.get_batch_samples

    def get_batch_samples(*arguments: Any) -> Any:
        batches, counts = make_batches(*arguments)
        if batches:
            texts = [text for batch in batches for text in batch["row_texts"]]
            seen.append((trainer._numbered_rows.epoch, trainer.state.global_step, texts))
        return batches, counts

    trainer.get_batch_samples = get_batch_samples
    trainer.data_collator.columns = [*trainer.data_collator.columns, row_texts]
    trainer.train(resume_from_checkpoint=settings.get("resume"))
    weights = {
        name: p.detach().flatten().tolist() for name, p in trainer.forward_pass.named_parameters() if p.requires_grad
    }
    epochs = [entry["epoch"] for entry in trainer.state.log_history if "loss" in entry]
    result = {"seen": seen, "weights": weights, "epochs": epochs}
    Path(f"{settings['output']}-{os.environ['RANK']}.json").write_text(json.dumps(result))
    torch.distributed.destroy_process_group()


def row_texts(batch: Any) -> dict[str, Any]:
    """The transcripts of a batch, in place of a tensor."""
    return {"row_texts": [example.row["transcript"] for example in batch.examples]}


if __name__ == "__main__":
    main()
