"""Rows of a recipe as the model will see them: which tokens it reads, where the audio stands among them, and what it should answer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby, islice
from typing import Any

from transformers.trainer_utils import has_length

from ..processing.processing_aura import AuraProcessor
from .collator import AuraDataCollator


NUM_ROWS = 3


def preview_rows(
    rows: Sequence[Mapping[str, Any]] | Iterable[Mapping[str, Any]], collator: AuraDataCollator
) -> Iterator[str]:
    """A few rows, from the first to the last (of a stream the first ones), each with its number, what the model reads, and the answer that it learns.

    Args:
        rows: of the training; only those that are shown are opened.
        collator: of the training.

    Raises:
        ValueError, AudioLoadingError: a row cannot be read; see [`AuraDataCollator`].
    """
    for number, row in _chosen(rows):
        batch = collator([row])
        if not len(batch["input_ids"]):
            yield f"row {number}: text only, left out"
            continue
        tokens, is_read = batch["input_ids"][0], batch["attention_mask"][0].bool()
        is_learnt = is_read & (batch["labels"][0] >= 0)
        prompt, answer = tokens[is_read & ~is_learnt].tolist(), tokens[is_learnt].tolist()
        extractor = collator.processor.feature_extractor
        num_frames = int(batch["input_features_mask"].sum()) if "input_features_mask" in batch else 0
        seconds = num_frames * extractor.hop_length / extractor.sampling_rate
        yield (
            f"row {number}: {len(prompt)} tokens read, {len(answer)} learnt\n"
            f"  reads  {_written(prompt, seconds, collator.processor)!r}\n"
            f"  learns {collator.processor.tokenizer.decode(answer)!r}"
        )


def _chosen(rows: Any) -> Iterator[tuple[int, Mapping[str, Any]]]:
    if not has_length(rows):
        yield from enumerate(islice(rows, NUM_ROWS))
        return
    for number in sorted({round(index * (len(rows) - 1) / (NUM_ROWS - 1)) for index in range(NUM_ROWS)}):
        yield number, rows[number]


def _written(tokens: Sequence[int], seconds: float, processor: AuraProcessor) -> str:
    """Tokens as text, the clip as its length."""
    parts = []
    for is_audio, group in groupby(tokens, key=lambda token: token == processor.audio_token_id):
        ids = list(group)
        parts.append(f"<audio: {len(ids)} tokens, {seconds:.2f} s>" if is_audio else processor.tokenizer.decode(ids))
    return "".join(parts)
