"""Wrong answers to read, with their recordings to listen to."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import soundfile

from ..processing.audio_errors import AudioLoadingError
from ..processing.audio_loading import load_audio
from ..processing.mixing import SAMPLING_RATE
from .items import Item


EXAMPLES = "examples"
MAX_FILE_NAME = 100


@dataclass(frozen=True)
class Example:
    """A wrong answer."""

    system: str
    benchmark: str
    condition: str
    item: Item
    answer: str


def write_examples(examples: Sequence[Example], folder: Path) -> list[dict[str, str]]:
    """Writes each recording once, as FLAC. An example whose recording cannot be read any more is left out.

    Returns:
        a dict of strings for each example, `audio` relative to `folder`.
    """
    target = folder / EXAMPLES
    target.mkdir(parents=True, exist_ok=True)
    rows = []
    for example in examples:
        try:
            waveform = load_audio(example.item.audio)
        except AudioLoadingError:  # it could be read when the item was asked: a download, say
            continue
        path = target / f"{_file_name(f'{example.benchmark}_{example.item.name}')}.flac"
        encoded = io.BytesIO()  # to a file, libsndfile would not say that the disk is full
        soundfile.write(encoded, waveform, SAMPLING_RATE, format="FLAC")
        path.write_bytes(encoded.getvalue())
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
    return rows


def _file_name(name: str) -> str:
    """A name that every file system takes, and no other name has."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", name)[:MAX_FILE_NAME]
    return plain if plain == name else f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
