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
    from ..decoding.alphabet import CharacterAlphabet
    from ..decoding.text_statistics import TEXT_STATISTICS_FILE_NAME, TextStatistics
    from ..modeling.configuration_aura import AuraConfig
    from ..processing.processing_aura import AuraProcessor
    from ..registration import register

    register()
    config = AuraConfig.from_pretrained(student)
    if config.character_ctc_alphabet is None:
        raise typer.BadParameter(
            f"The student in {student} has no character CTC head, so nothing would read the counts."
        )
    missing = [str(file) for file in files if not file.is_file()]
    if missing:
        raise typer.BadParameter(f"There is no file {', '.join(missing)}.")
    texts = [line.strip() for file in files for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    if not texts:
        raise typer.BadParameter(f"{', '.join(map(str, files))} hold no text.")
    tokenizer = AuraProcessor.from_pretrained(student).tokenizer
    statistics = TextStatistics.count(
        texts,
        tokenizer(texts, add_special_tokens=False).input_ids,
        CharacterAlphabet(config.character_ctc_alphabet),
        config.text_config.vocab_size,
        tokenizer.eos_token_id,
    )
    file = student / TEXT_STATISTICS_FILE_NAME
    statistics.save(file)
    print_status(
        f"{len(texts)} lines: {len(statistics.lexicon.words)} words, {file.stat().st_size / 1e6:.1f} MB in {file}"
    )
