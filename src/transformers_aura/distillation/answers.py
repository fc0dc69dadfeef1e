"""What a student answers to the rows of an evaluation, as texts: what `predict` returns and `compute_metrics` gets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict

import torch

from ..modeling.generation_defaults import with_generation_defaults
from ..modeling.modeling_aura import AuraForSpeechQA
from ..processing.conversation import build_conversation
from ..processing.processing_aura import AuraProcessor
from .examples import ROW_NUMBER_KEY, ExampleBatch, tokenize_chats


class AskedRow(TypedDict):
    """What a row of an evaluation asks; `inputs` of the [`~transformers.EvalPrediction`] that `compute_metrics` gets are these.

    Attributes:
        row: its number in the dataset (text-only rows that are left out do not count).
        task: `"transcript"` where the audio is to be transcribed, `"answer"` where a question is to be answered.
        question: the written question, `None` where the audio is the question.
        transcript: what is said, where the row tells it.
    """

    row: int | None
    task: Literal["transcript", "answer"]
    question: str | None
    transcript: str | None


def answer_prompts(batch: ExampleBatch) -> dict[str, Any]:
    """What the student is asked, up to where its answer begins.

    Returns:
        `prompt_input_ids`, `prompt_attention_mask` (`torch.LongTensor` of shape `(rows, sequence)`, left padded), `asked` (a list of [`AskedRow`]) and
        `expected` (a list of the right answers, `None` where a row has none).
    """
    longest = max((len(example.prompt) for example in batch.examples), default=0)
    input_ids = torch.full((len(batch.examples), longest), batch.processor.tokenizer.pad_token_id, dtype=torch.long)
    attention_mask = torch.zeros_like(input_ids)
    for row, example in enumerate(batch.examples):
        input_ids[row, longest - len(example.prompt) :] = torch.tensor(example.prompt, dtype=torch.long)
        attention_mask[row, longest - len(example.prompt) :] = 1
    asked = [
        AskedRow(
            row=example.row.get(ROW_NUMBER_KEY),
            task="transcript" if example.transcript and not example.row.get("answer") else "answer",
            question=example.row.get("question"),
            transcript=example.transcript,
        )
        for example in batch.examples
    ]
    return {
        "prompt_input_ids": input_ids,
        "prompt_attention_mask": attention_mask,
        "asked": asked,
        "expected": [example.answer for example in batch.examples],
    }


@torch.no_grad()
def answer_rows(
    student: AuraForSpeechQA, processor: AuraProcessor, batch: Mapping[str, Any], max_new_tokens: int
) -> list[str]:
    """The student's answers, greedily, by the way that `aura evaluate` takes: a student with a CTC head transcribes with it, and one that answers
    from transcripts (`answer_from` of its config) has its base LLM answer these. All others answer the audio directly.

    Args:
        student: in evaluation mode.
        processor: of the student.
        batch: what [`AuraDataCollator`] returns, with the columns of [`answer_prompts`].
        max_new_tokens: most tokens of an answer; what the CTC head writes has no limit.

    Returns:
        one text a row; empty where nobody speaks to a student that answers from transcripts.
    """
    asked, input_ids = batch["asked"], batch["prompt_input_ids"]
    has_audio = (input_ids == student.config.audio_token_id).any(dim=1)
    hears = [audio and student.config.can_transcribe for audio in has_audio.tolist()]
    from_transcript = student.config.answer_from == "transcript"
    written = [
        row for row, each in enumerate(asked) if hears[row] and (each["task"] == "transcript" or from_transcript)
    ]
    direct = [row for row in range(len(asked)) if row not in written]
    texts = dict.fromkeys(range(len(asked)), "")
    if written:
        method: Literal["greedy", "beam_search"] = (
            "greedy" if student.config.character_ctc_alphabet is None else "beam_search"
        )
        inputs = _inputs_of(batch, written, has_audio)
        transcripts = student.transcribe(**inputs, tokenizer=processor.tokenizer, method=method)
        texts |= {row: transcript.text for row, transcript in zip(written, transcripts, strict=True)}
        heard = {row: transcript.heard for row, transcript in zip(written, transcripts, strict=True)}
        questions = [row for row in written if asked[row]["task"] == "answer" and heard[row]]
        chats = [
            build_conversation(question="\n".join(filter(None, (texts[row], asked[row]["question"]))))
            for row in questions
        ]
        if chats:
            prompts = _left_padded(tokenize_chats(processor, chats)["input_ids"], processor, input_ids.device)
            texts |= zip(questions, _generate(student, processor, prompts, max_new_tokens), strict=True)
    if direct:
        inputs = _inputs_of(batch, direct, has_audio)
        texts |= zip(direct, _generate(student, processor, inputs, max_new_tokens), strict=True)
    return list(texts.values())


def _inputs_of(batch: Mapping[str, Any], rows: Sequence[int], has_audio: torch.Tensor) -> dict[str, torch.Tensor]:
    """The prompts of some rows, and their clips."""
    chosen = list(rows)
    inputs = {
        "input_ids": batch["prompt_input_ids"][chosen],
        "attention_mask": batch["prompt_attention_mask"][chosen],
    }
    clip_of_row = has_audio.long().cumsum(0) - 1
    clips = [int(clip_of_row[row]) for row in chosen if bool(has_audio[row])]
    if clips:
        inputs |= {name: batch[name][clips] for name in ("input_features", "input_features_mask")}
    return inputs


def _left_padded(
    prompts: Sequence[list[int]], processor: AuraProcessor, device: torch.device
) -> dict[str, torch.Tensor]:
    padded = processor.tokenizer.pad({"input_ids": list(prompts)}, padding_side="left", return_tensors="pt")
    return {name: padded[name].to(device) for name in ("input_ids", "attention_mask")}


def _generate(
    student: AuraForSpeechQA, processor: AuraProcessor, inputs: dict[str, torch.Tensor], max_new_tokens: int
) -> list[str]:
    input_ids = inputs["input_ids"]
    settings = with_generation_defaults(
        student,
        processor.tokenizer,
        {"max_new_tokens": max_new_tokens, "do_sample": False, "num_beams": 1},
        num_audio=int((input_ids == student.config.audio_token_id).sum(-1).max()),
        num_tokens=input_ids.shape[1],
    )
    tokens = student.generate(**inputs, **settings)[:, input_ids.shape[1] :]
    return [text.strip() for text in processor.batch_decode(tokens, skip_special_tokens=True)]
