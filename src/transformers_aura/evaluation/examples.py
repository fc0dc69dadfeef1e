"""Wrong answers to read, with their recordings to listen to."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import soundfile

from ..processing.audio_loading import load_audio
from ..processing.mixing import SAMPLING_RATE
from .items import Item


EXAMPLES = "examples"


@dataclass(frozen=True)
class Example:
    """A wrong answer."""

    system: str
    benchmark: str
    condition: str
    item: Item
    answer: str


def write_examples(examples: Sequence[Example], folder: Path) -> list[dict[str, str]]:
    """Writes each recording once, as FLAC, in the place of those of an earlier evaluation.

    Returns:
        a dict of strings for each example, `audio` relative to `folder`.
    """
    target = folder / EXAMPLES
    target.mkdir(parents=True, exist_ok=True)
    rows = []
    for example in examples:
        name = re.sub(r"[^A-Za-z0-9._-]+", "_", f"{example.benchmark}_{example.item.name}").removesuffix(".flac")
        path = target / f"{name}.flac"
        soundfile.write(path, load_audio(example.item.audio), SAMPLING_RATE, format="FLAC")
        rows.append(
            {
                "system": example.system,
                "benchmark": example.benchmark,
                "condition": example.condition,
                "item": example.item.name,
                "asked": example.item.question or "",
                "true": " / ".join(example.item.accepted),
                "answer": example.answer,
                "audio": f"{EXAMPLES}/{path.name}",
            }
        )
    shown = {row["audio"] for row in rows}
    for path in target.glob("*.flac"):
        if f"{EXAMPLES}/{path.name}" not in shown:
            path.unlink()
    return rows
