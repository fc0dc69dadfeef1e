"""Columns of a batch that several objectives need."""

from __future__ import annotations

from typing import Any

from ..examples import ExampleBatch, pad_tokens


def teacher_waveforms(batch: ExampleBatch) -> dict[str, Any]:
    """`waveforms` (`list` of float32 `np.ndarray` of shape `(samples,)`, 16 kHz): the clips as the teacher gets them, without augmentation."""
    waveforms = [example.waveform for example in batch.examples if example.waveform is not None]
    return {"waveforms": waveforms} if waveforms else {}


def transcript_tokens(batch: ExampleBatch) -> dict[str, Any]:
    """The LLM's tokens of each clip's transcript, alone and where the audio stood.

    Returns:
        `transcript_tokens` (`torch.LongTensor` of shape `(rows, tokens)`, right padded), `transcript_token_lengths` (`(rows,)`; 0 = no transcript),
        and `text_input_ids`, `text_attention_mask` (`(rows, sequence)`): what stands before the audio, then these tokens.
    """
    audio_token_id = batch.processor.audio_token_id
    tokens: list[list[int]] = []
    before_audio: list[list[int]] = []
    for example in batch.examples:
        if example.transcript is None:
            tokens.append([])
            before_audio.append(example.prompt[:1])
        else:
            tokens.append(batch.processor.tokenizer(example.transcript, add_special_tokens=False)["input_ids"])
            before_audio.append(example.prompt[: example.prompt.index(audio_token_id)])
    padded, lengths = pad_tokens(tokens)
    text = batch.pad(before_audio, tokens)
    return {
        "transcript_tokens": padded,
        "transcript_token_lengths": lengths,
        "text_input_ids": text["input_ids"],
        "text_attention_mask": text["attention_mask"],
    }
