"""Options of commands that answer many recordings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


DEFAULT_BATCH_SIZE = 16

BatchSizeOption = Annotated[
    int, typer.Option(min=1, max=2**20, help="Of several: so many recordings at once; fewer where they are long.")
]
ShardOption = Annotated[
    str | None,
    typer.Option(metavar="I/N", help="Of several: every N-th, from the I-th on. Machine I of N has its own --out."),
]


def is_rows_file(out: Path) -> bool:
    """Whether an output is one file of rows, by its name."""
    return out.suffix.lower() in (".jsonl", ".parquet")
