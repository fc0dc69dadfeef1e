"""A step of distillation, and a step of plain LoRA by PEFT on text of as many tokens.

Both train on the same base LLM with LoRA of the same rank on the same linear layers of the same decoder layers, by transformers' Trainer with the same optimizer:
the student of `recipes/smollm2-135m-quick.yaml`, all of its losses on and its clips augmented, and PEFT on rows of the same lengths in which each audio token is a
token of text, with the same labels. The trainings take turns, some steps each, in one process; the first step of a turn does not count. A step's time is that from the
end of the one before to its own end, so making its batch is in it.
"""

import argparse
import itertools
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, DataCollatorForSeq2Seq, Trainer, TrainerCallback, TrainingArguments

from benchmarks.recordings import QUESTIONS, REPOSITORY, read_recordings
from benchmarks.results import Result, Table
from benchmarks.systems import BASE_MODEL, WHISPER
from benchmarks.timing import CLOCKS
from tools.real_models import real_model_folder
from transformers_aura.distillation.collator import AuraDataCollator
from transformers_aura.distillation.recipe import Recipe, load_recipe, training_arguments
from transformers_aura.distillation.recipe_run import build_trainer
from transformers_aura.distillation.rows import LengthGroupedBatches, NumberedRows
from transformers_aura.distillation.trainer import AuraTrainer
from transformers_aura.modeling.configuration_aura import AuraConfig


PEFT = "PEFT LoRA, as many tokens of text"
CACHED = "student, teacher's states cached"
UNCACHED = "student, teacher's states computed"
DISTILLATION = "student, cached, distillation alone"
STUDENTS = (CACHED, UNCACHED, DISTILLATION)

AUGMENTATION = {
    "noise_probability": 0.5,
    "snr_db": [3, 30],
    "room_probability": 0.3,
    "equalizer_db": 4,
    "telephone_probability": 0.05,
}
"""As the packaged student was trained, but for recorded noise: the repository has none."""

SOME_TEXT = "Can I have a large latte with two shots of espresso and oat milk, please?"
"""What is said in a recording of which that is not known, for the number of its tokens."""


class StepTimes(TrainerCallback):
    """
    Times of the steps of one training that is begun again for each turn.

    Args:
        clock: of [`CLOCKS`].

    Attributes:
        seconds: of each step but the first of each turn: from the end of the step before.
        waited: the part of them until the batch was there.
    """

    def __init__(self, clock: str = "wall") -> None:
        self._read = CLOCKS[clock]
        self._ended = 0.0
        self.seconds: list[float] = []
        self.waited: list[float] = []

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step:
            self.waited.append(self._read() - self._ended)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        now = self._read()
        if state.global_step > 1:
            self.seconds.append(now - self._ended)
        self._ended = now

    @property
    def share_waited(self) -> float:
        """Median share of a step's time in which nothing was trained because the batch was not there."""
        return statistics.median(waited / passed for waited, passed in zip(self.waited, self.seconds, strict=True))


def recipe_of(arguments: argparse.Namespace, folder: Path, name: str) -> Recipe:
    """The quick recipe, for one of the students' trainings."""
    overrides: dict[str, Any] = {
        "model.base_model": str(arguments.base_model),
        "model.dtype": arguments.dtype,
        "teacher.model": str(arguments.teacher),
        "data.train": [{"source": str(folder / "manifest.jsonl"), "use": ["audio", "transcript"]}],
        "data.augmentation": AUGMENTATION,
        "losses.supervision": "distillation" if name == DISTILLATION else "both",
        "losses.distillation_warmup_steps": 0,
        "losses.teacher_cache_dir": None if name == UNCACHED else str(folder / "states"),
        "training.output_dir": str(folder / f"training {STUDENTS.index(name)}"),
        "training.max_steps": arguments.steps + 1,
        "training.per_device_train_batch_size": arguments.batch_size,
        "training.train_sampling_strategy": arguments.sampling,
        "training.dataloader_num_workers": arguments.workers,
        "training.use_cpu": arguments.device == "cpu",
        "training.save_strategy": "no",
        "training.disable_tqdm": True,
    }
    recipe = REPOSITORY / "recipes" / "smollm2-135m-quick.yaml"
    return load_recipe(recipe, [f"{key}={json.dumps(value)}" for key, value in overrides.items()])


class TextRows(torch.utils.data.Dataset):
    """Rows of text as long as those of a student's training, with the same labels; each audio token is a token of text."""

    def __init__(self, rows: Any, collator: AuraDataCollator, config: AuraConfig) -> None:
        self.rows = []
        self.seconds = rows.seconds
        for number in range(len(rows)):
            batch = collator([rows[number]])
            ids, labels = batch["input_ids"][0], batch["labels"][0]
            is_audio = ids == config.audio_token_id
            ids[is_audio] = 1_000 + torch.arange(int(is_audio.sum())) % 10_000
            self.rows.append({"input_ids": ids.tolist(), "labels": labels.tolist()})

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.rows[index]


class PeftTrainer(Trainer):
    """The stock Trainer, whose rows come in the order of the student's."""

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        if self.args.train_sampling_strategy != "group_by_length":
            return super()._get_train_sampler(train_dataset)
        return LengthGroupedBatches(NumberedRows(self.train_dataset, self.args.seed), self.args.train_batch_size)


def peft_trainer(student: AuraTrainer, arguments: argparse.Namespace, folder: Path) -> Trainer:
    """LoRA by PEFT as the student's, on rows as long as the student's."""
    config = student.model.config
    torch.manual_seed(0)
    model = get_peft_model(
        AutoModelForCausalLM.from_pretrained(arguments.base_model, dtype=arguments.dtype),
        LoraConfig(
            r=config.lora_rank,
            lora_alpha=config.lora_alpha,
            lora_dropout=config.lora_dropout,
            target_modules=list(config.lora_target_modules),
            layers_to_transform=list(range(config.lora_num_layers)),
            layers_pattern="layers",
        ),
    )
    shared = (
        "learning_rate",
        "lr_scheduler_type",
        "warmup_steps",
        "max_grad_norm",
        "optim",
        "seed",
        "logging_steps",
        "use_cpu",
    )
    training = TrainingArguments(
        str(folder),
        max_steps=arguments.steps + 1,
        per_device_train_batch_size=arguments.batch_size,
        train_sampling_strategy=arguments.sampling,
        dataloader_num_workers=arguments.workers,
        dataloader_pin_memory=False,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        **{name: getattr(student.args, name) for name in shared},
    )
    tokenizer = student.processing_class.tokenizer
    collator = DataCollatorForSeq2Seq(tokenizer, padding=True)
    tokenizer.padding_side = "right"
    return PeftTrainer(model, training, collator, TextRows(student.train_dataset, student.eval_collator, config))


def share_padded(seconds: Sequence[float], batch_size: int, strategy: str) -> float:
    """Share of the audio positions of an epoch's batches that are padding."""
    rows = NumberedRows(_Lengths(seconds), seed=0)
    if strategy == "group_by_length":
        order = list(LengthGroupedBatches(rows, batch_size))
    else:
        order = torch.randperm(len(seconds), generator=torch.Generator().manual_seed(0)).tolist()
    batches = [
        [seconds[row] for row in order[first : first + batch_size]] for first in range(0, len(order), batch_size)
    ]
    return 1 - sum(map(sum, batches)) / sum(max(batch) * len(batch) for batch in batches)


class _Lengths:
    def __init__(self, seconds: Sequence[float]) -> None:
        self.seconds = seconds

    def __len__(self) -> int:
        return len(self.seconds)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--teacher", help="Whisper, folder or Hub id; default: the copy of `make real-models`")
    parser.add_argument("--clips", type=Path, default=QUESTIONS, help="folder of recordings")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--sampling", choices=("random", "group_by_length"), default="random")
    parser.add_argument("--workers", type=int, default=0, help="processes that make batches")
    parser.add_argument("--steps", type=int, default=2, help="steps of a turn that count")
    parser.add_argument("--trainings", nargs="+", choices=STUDENTS, default=STUDENTS)


def measure(arguments: argparse.Namespace) -> Result:
    arguments.base_model = arguments.base_model or real_model_folder(BASE_MODEL)
    arguments.teacher = arguments.teacher or real_model_folder(WHISPER)
    # Batches are made one ahead, so that there is one more than steps; from the first again when all clips are used up.
    num_clips = (arguments.steps + 2) * arguments.batch_size
    clips = list(itertools.islice(itertools.cycle(read_recordings(arguments.clips)), num_clips))
    with tempfile.TemporaryDirectory() as folder:
        rows = [
            {
                "audio": str((arguments.clips / clip.name).resolve()),
                "transcript": clip.text or SOME_TEXT,
                "seconds": clip.seconds,
            }
            for clip in clips
        ]
        Path(folder, "manifest.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
        trainers = make_trainers(arguments, Path(folder))
        times = {name: StepTimes(arguments.clock) for name in trainers}
        for name, trainer in trainers.items():
            trainer.add_callback(times[name])
        started = time.perf_counter()
        for turn in range(arguments.rounds):
            if turn >= 3 and time.perf_counter() - started > arguments.seconds:
                break
            names = list(trainers)
            for name in names[turn % len(names) :] + names[: turn % len(names)]:
                trainers[name].train()
    table = Table("A training step", "s", "rows of a step", PEFT)
    table.add(arguments.batch_size, {name: steps.seconds for name, steps in times.items()})
    lengths = [clip.seconds for clip in clips]
    waited = ", ".join(f"{100 * steps.share_waited:.1f} % ({name})" for name, steps in times.items())
    padded = {
        strategy: 100 * share_padded(lengths, arguments.batch_size, strategy)
        for strategy in ("random", "group_by_length")
    }
    notes = [
        f"Clips of {min(lengths):.1f} to {max(lengths):.1f} s, {arguments.sampling} order; {arguments.workers} processes beside the training make batches.",
        f"Share of a step until its batch is there: {waited}.",
        f"Padding among the audio positions of batches: {padded['random']:.0f} % in random order, {padded['group_by_length']:.0f} % by length.",
    ]
    return Result("training_step", tables=[table], notes=notes)


def make_trainers(arguments: argparse.Namespace, folder: Path) -> dict[str, Trainer]:
    """The trainings by name, the teacher's states computed for those that cache them."""
    students: dict[str, AuraTrainer] = {}
    for name in arguments.trainings:
        recipe = recipe_of(arguments, folder, name)
        students[name] = trainer = build_trainer(recipe, training_arguments(recipe))
        if trainer.targets is not None and trainer.targets.cache is not None:
            for waveform in trainer._waveforms(trainer.train_dataset):
                trainer.targets([waveform])
    return {PEFT: peft_trainer(next(iter(students.values())), arguments, folder / "peft"), **students}
