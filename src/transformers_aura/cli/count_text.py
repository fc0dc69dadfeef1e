"""`aura count-text`: count text for a student's transcripts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .console import print_status


def count_text(
    student: Annotated[Path, typer.Argument(help="Folder of the student; the counts are written into it.")],
    files: Annotated[
        list[Path], typer.Argument(help="Text files, one utterance a line, as transcripts are to be written.")
    ],
) -> None:
    """Count words and token trigrams of text, so that a student's transcripts hold likely words.

    The student's folder gets a small file, text_statistics.safetensors, which `transcribe` uses in its first pass. Any language will do: what the
    student is to understand, or what its base LLM writes.
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
