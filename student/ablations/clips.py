"""The clips that a student of the ablations is scored on: spoken orders that training never had."""

import io
import json
from pathlib import Path

import numpy as np
import soundfile

from student.measure.cases import Case
from student.recordings import SAMPLING_RATE, order_recordings, read_speech
from student.reserved import is_validation_clip
from student.texts.orders import ORDER_QUESTION


SYNTHETIC = "synthetic"
REAL = "real"


def scored_clips(orders: Path, recordings: Path) -> list[Case]:
    """Validation clips of both kinds; recordings of real people are left out, said aloud, where there are none.

    Args:
        orders: folder of the corpus with `validation-*.parquet`.
        recordings: folder with `manifest.jsonl`.
    """
    return [*synthetic_clips(orders), *real_clips(recordings)]


def synthetic_clips(orders: Path) -> list[Case]:
    """Orders that synthetic voices speak, of sentences that training does not hold."""
    from datasets import Audio, load_dataset

    shards = sorted(str(path) for path in orders.glob("validation-*.parquet"))
    rows = load_dataset("parquet", data_files=shards, split="train").cast_column("audio", Audio(decode=False))
    return [
        Case(
            name=row["audio"]["path"],
            kind="order",
            group=SYNTHETIC,
            source=row["audio"]["path"],
            seconds=row["seconds"],
            question=row["question"],
            text=row["transcript"],
            truth=json.loads(row["answer"]),
            load=lambda content=row["audio"]["bytes"]: _decode(content),
        )
        for row in rows
    ]


def _decode(content: bytes) -> np.ndarray:
    samples, sampling_rate = soundfile.read(io.BytesIO(content), dtype="float32")
    if sampling_rate != SAMPLING_RATE:
        raise ValueError(f"A clip of the corpus has {sampling_rate} Hz, not {SAMPLING_RATE}.")
    return samples


def real_clips(recordings: Path) -> list[Case]:
    """Orders that real people speak, kept out of training by `student.reserved.is_validation_clip`."""
    return [
        Case(
            name=recording.path.name,
            kind="order",
            group=REAL,
            source=recording.path.name,
            seconds=soundfile.info(recording.path).duration,
            question=ORDER_QUESTION,
            text=None,
            truth=recording.slots,
            load=lambda path=recording.path: read_speech(path),
        )
        for recording in order_recordings(recordings)
        if is_validation_clip(recording.path.name)
    ]
