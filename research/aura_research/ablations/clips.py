"""The clips that a student of the ablations is scored on: spoken orders that training never had."""

import json
from pathlib import Path

from aura_research.recordings import order_recordings
from aura_research.reserved import is_validation_clip
from aura_research.texts.orders import ORDER_QUESTION
from transformers_aura.evaluation.items import Item


KIND = "kind"
"""The group that tells the two kinds apart."""

SYNTHETIC = "synthetic"
REAL = "real"


def scored_clips(orders: Path, recordings: Path) -> list[Item]:
    """Validation clips of both kinds; recordings of real people are left out, said aloud, where there are none.

    Args:
        orders: folder of the corpus with `validation-*.parquet`.
        recordings: folder with `manifest.jsonl`.
    """
    return [*synthetic_clips(orders), *real_clips(recordings)]


def synthetic_clips(orders: Path) -> list[Item]:
    """Orders that synthetic voices speak, of sentences that training does not hold."""
    from datasets import Audio, load_dataset

    shards = sorted(str(path) for path in orders.glob("validation-*.parquet"))
    rows = load_dataset("parquet", data_files=shards, split="train").cast_column("audio", Audio(decode=False))
    return [
        Item(
            name=row["audio"]["path"],
            task="slots",
            audio={"bytes": row["audio"]["bytes"]},
            accepted=(row["answer"],),
            question=row["question"],
            text=row["transcript"],
            groups={KIND: SYNTHETIC},
        )
        for row in rows
    ]


def real_clips(recordings: Path) -> list[Item]:
    """Orders that real people speak, kept out of training by `aura_research.reserved.is_validation_clip`."""
    return [
        Item(
            name=recording.path.name,
            task="slots",
            audio=str(recording.path),
            accepted=(json.dumps(recording.slots),),
            question=ORDER_QUESTION,
            groups={KIND: REAL},
        )
        for recording in order_recordings(recordings)
        if is_validation_clip(recording.path.name)
    ]
