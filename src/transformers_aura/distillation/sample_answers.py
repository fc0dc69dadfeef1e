"""A few answers of each evaluation during training, on the terminal and in a file of the run's folder."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm
from transformers import EvalPrediction, TrainingArguments
from transformers.utils import logging


logger = logging.get_logger(__name__)

SAMPLES_FILE_NAME = "_sample_answers.jsonl"
"""It quotes the data, so it is not uploaded: `push_to_hub` leaves out what begins so."""
NUM_SAMPLES = 4


def write_samples(args: TrainingArguments, step: int, prefix: str, prediction: EvalPrediction) -> None:
    """Show answers to a few rows, the same each time, and add them to `_sample_answers.jsonl` in the run's folder, which keeps those of earlier steps.

    A file that cannot be written does not end the training.

    Args:
        args: of the training.
        step: the last one that the weights have had.
        prefix: of the evaluation's metrics: `"eval"`.
        prediction: all answers, see [`AuraTrainer`].
    """
    entries = list(_samples(step, prefix, prediction))
    for entry in entries:
        tqdm.write(f"step {step}, row {entry['row']}: {entry['text']!r} (right: {entry['expected']!r})")
    path = Path(str(args.output_dir)) / SAMPLES_FILE_NAME
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [json.dumps(entry, ensure_ascii=False) + "\n" for entry in [*_earlier(path, step, prefix), *entries]]
        path.write_text("".join(lines), encoding="utf-8")
    except (OSError, ValueError) as error:
        logger.warning(f"{path} cannot be written ({error}). The training goes on.")


def _samples(step: int, prefix: str, prediction: EvalPrediction) -> Iterator[dict[str, Any]]:
    """Evenly spaced rows."""
    num_rows = len(prediction.predictions)
    for index in sorted({number * num_rows // NUM_SAMPLES for number in range(NUM_SAMPLES)} if num_rows else ()):
        yield {
            "step": step,
            "evaluation": prefix,
            **prediction.inputs[index],
            "expected": prediction.label_ids[index],
            "text": prediction.predictions[index],
        }


def _earlier(path: Path, step: int, prefix: str) -> list[dict[str, Any]]:
    """What the file holds of evaluations before this one: a run that was resumed evaluates again what came after its checkpoint."""
    if not path.exists():
        return []
    entries = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [each for each in entries if each["step"] < step or (each["step"] == step and each["evaluation"] != prefix)]
