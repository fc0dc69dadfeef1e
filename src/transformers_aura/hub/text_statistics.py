"""Counted text in a student's folder."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ..decoding.alphabet import CharacterAlphabet
from ..decoding.text_statistics import TEXT_STATISTICS_FILE_NAME, TextStatistics
from ..modeling.configuration_aura import AuraConfig
from ..processing.processing_aura import AuraProcessor
from ..whole_files import files_together
from .errors import HubError


def add_text_statistics(student: Path, texts: Iterable[str]) -> Path:
    """
    Counts words and token trigrams of texts, and writes the counts into a student's folder, where `transcribe` finds them.

    Args:
        student: folder of a student with a character CTC head.
        texts: one utterance each, as transcripts are to be written; empty ones are left out.

    Returns:
        the file.

    Raises:
        HubError: the student has no character CTC head, or there is no text.
    """
    config = AuraConfig.from_pretrained(student)
    if config.character_ctc_alphabet is None:
        raise HubError(
            f"The student in {student} has no character CTC head (`config.character_ctc_alphabet` is None), so nothing would read the counts."
        )
    texts = [text.strip() for text in texts if text.strip()]
    if not texts:
        raise HubError("There is no text to count: every line is empty.")
    tokenizer = AuraProcessor.from_pretrained(student).tokenizer
    statistics = TextStatistics.count(
        texts,
        tokenizer(texts, add_special_tokens=False).input_ids,
        CharacterAlphabet(config.character_ctc_alphabet),
        config.text_config.vocab_size,
        tokenizer.eos_token_id,
    )
    with files_together(student) as staging:
        statistics.save(staging / TEXT_STATISTICS_FILE_NAME)
    return student / TEXT_STATISTICS_FILE_NAME
