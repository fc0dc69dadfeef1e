"""A tiny corpus and a recipe of tiny models: what a training run starts from."""

import io
import json
from pathlib import Path

import soundfile
from datasets import Audio, Dataset

from tests.support.published import save_tiny_whisper
from tests.support.tiny import tone
from tests.support.tiny_models import save_tiny_language_model
from transformers_aura.decoding.alphabet import LATIN_ALPHABET


DRINKS = ("latte", "mocha", "espresso")


def write_corpus(folder: Path, num_train: int = 12, num_validation: int = 4, shortest_seconds: float = 0.3) -> Path:
    """Tones as spoken orders, in the columns that `aura distill` takes."""
    for split, count in (("train", num_train), ("validation", num_validation)):
        rows = []
        for index in range(count):
            content = io.BytesIO()
            seconds = shortest_seconds + 0.1 * (index % 3)
            soundfile.write(content, tone(seconds, 200 + 50 * index), 16000, format="FLAC")
            drink = DRINKS[index % len(DRINKS)]
            rows.append(
                {
                    "audio": {"bytes": content.getvalue(), "path": f"{split}-{index}.flac"},
                    "transcript": f"a {drink}",
                    "question": "What was ordered? Answer in JSON.",
                    "answer": json.dumps({"coffeeDrink": drink}),
                    "seconds": seconds,
                }
            )
        (folder / "orders").mkdir(parents=True, exist_ok=True)
        dataset = Dataset.from_list(rows).cast_column("audio", Audio(16000, decode=False))
        dataset.to_parquet(folder / "orders" / f"{split}-voice-000.parquet")
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
model: {{base_model: "{base}", lora_rank: 2, lora_num_layers: 2, conv_width: 24, tokens_per_block: 4, init_from_teacher: true, character_ctc_alphabet: "{LATIN_ALPHABET}"}}
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
  use_cpu: true
"""
    )
    return recipe
