"""A tiny corpus, recipe and arms, and results made by hand, for the tests of the ablations."""

import io
import itertools
import json
from pathlib import Path
from typing import Any

import soundfile
from datasets import Audio, Dataset

from student.ablations.results import RunResult
from student.reserved import is_validation_clip
from student.texts.orders import ORDER_QUESTION
from tests.support.published import save_tiny_whisper
from tests.support.tiny import tone
from tests.support.tiny_models import save_tiny_language_model


DRINKS = ("latte", "mocha", "espresso")


def write_corpus(folder: Path, num_train: int = 12, num_validation: int = 4) -> Path:
    """Tones as spoken orders, in the columns of the student's corpus."""
    for split, count in (("train", num_train), ("validation", num_validation)):
        rows = []
        for index in range(count):
            content = io.BytesIO()
            seconds = 0.3 + 0.1 * (index % 3)
            soundfile.write(content, tone(seconds, 200 + 50 * index), 16000, format="FLAC")
            drink = DRINKS[index % len(DRINKS)]
            rows.append(
                {
                    "audio": {"bytes": content.getvalue(), "path": f"{split}-{index}.flac"},
                    "transcript": f"a {drink}",
                    "question": ORDER_QUESTION,
                    "answer": json.dumps({"coffeeDrink": drink}),
                    "seconds": seconds,
                }
            )
        (folder / "orders").mkdir(parents=True, exist_ok=True)
        dataset = Dataset.from_list(rows).cast_column("audio", Audio(16000, decode=False))
        dataset.to_parquet(folder / "orders" / f"{split}-voice-000.parquet")
    return folder


def write_recordings(folder: Path) -> Path:
    """One recording that is kept for validation and one that is not."""
    names = [f"{number}.flac" for number in range(100)]
    kept = next(name for name in names if is_validation_clip(name))
    other = next(name for name in names if not is_validation_clip(name))
    folder.mkdir()
    for name in (kept, other):
        soundfile.write(folder / name, tone(0.4), 16000)
    rows = [{"audio": name, "slots": {"coffeeDrink": "mocha"}} for name in (kept, other)]
    (folder / "manifest.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return folder


def write_recipe(folder: Path) -> Path:
    """A recipe of tiny models with random weights."""
    folder.mkdir(parents=True, exist_ok=True)
    base = save_tiny_language_model(folder / "base")
    whisper = save_tiny_whisper(folder / "whisper")
    recipe = folder / "recipe.yaml"
    recipe.write_text(
        f"""
name: tiny
model: {{base_model: "{base}", lora_rank: 2, lora_num_layers: 2, conv_width: 24, tokens_per_block: 4, init_from_teacher: true}}
teacher: {{model: "{whisper}", pad_to_seconds: 1}}
data: {{train: []}}
losses: {{supervision: both, character_ctc_weight: 0.5}}
training:
  learning_rate: 1e-3
  lr_scheduler_type: constant
  max_steps: 6
  logging_steps: 1
  per_device_train_batch_size: 2
  train_sampling_strategy: group_by_length
  normalization_clips: 4
  use_cpu: true
"""
    )
    return recipe


def write_arms(path: Path) -> Path:
    path.write_text(
        """
supervision:
  question: Does distillation help?
  reference: ce
  arms:
    ce: [losses.supervision=transcript, losses.character_ctc_weight=0]
    both: []
scope:
  question: Where?
  reference: rows
  arms: {rows: [], audio: [model.lora_scope=audio]}
"""
    )
    return path


def made_up_run(
    name: str,
    seed: int,
    marks: list[list[bool]],
    seconds_per_step: float = 1.0,
    cross_entropies: tuple[float, ...] = (3.0, 2.0, 1.0),
    **values: Any,
) -> RunResult:
    """A run of 30 steps, scored after every tenth; `marks`: of each scoring those of the synthetic clips."""
    steps = (10, 20, 30)
    times = {step: {"step": step, "train_seconds": seconds_per_step * step} for step in steps}
    log = [
        {**times[step], "train_cpu_seconds": 0.9 * seconds_per_step * step, "eval_lm_loss": loss, "eval_cosine": 0.5}
        for step, loss in zip(steps, cross_entropies, strict=True)
    ]
    by_clip = zip(*itertools.islice(itertools.cycle(marks), 3), strict=True)
    of_clips = {f"clip {index}": list(of_clip) for index, of_clip in enumerate(by_clip)}
    checks = list(times.values())
    values = {"recipe": "a recipe", "settings": [], "machine": "a machine", **values}
    return RunResult(name, seed, minutes=None, log=log, checks=checks, marks={"synthetic": of_clips}, **values)
