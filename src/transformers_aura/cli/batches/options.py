"""Options of commands that answer many recordings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


DEFAULT_BATCH_SIZE = 16

BatchSizeOption = Annotated[
    int, typer.Option(min=1, max=2**20, help="Most recordings in a batch; fewer if they are long.")
]
ShardOption = Annotated[
    str | None,
    typer.Option(
        metavar="I/N", help="Process every N-th recording, starting from the I-th, to share the work among N machines."
    ),
]


def is_rows_file(out: Path) -> bool:
    """Whether an output is one file of rows, by its name."""
    return out.suffix.lower() in (".jsonl", ".parquet")
