"""`aura count-text`: count text for a student's transcripts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .console import print_status


def count_text(
    student: Annotated[Path, typer.Argument(help="Folder of the student; the counts are written into it.")],
    files: Annotated[
        list[Path], typer.Argument(help="Text files with one utterance a line, written as transcripts should be.")
    ],
) -> None:
    """Count words and token trigrams of text, so that `transcribe` prefers likely words.

    Writes a small file, text_statistics.safetensors, into the student's folder; the beam search uses it. Use text in the student's language.
    """
    from ..hub.repo_folder import human_bytes
    from ..hub.text_statistics import add_text_statistics
    from ..processing.text_files import read_text_file
    from ..registration import register

    register()
    missing = [str(file) for file in files if not file.is_file()]
    if missing:
        raise typer.BadParameter(f"There is no file {', '.join(missing)}.")
    texts = [line for file in files for line in read_text_file(file).split("\n")]
    written = add_text_statistics(student, texts)
    print_status(f"{human_bytes(written.stat().st_size)} in {written}")
