"""Answers of vLLM, which takes as many requests at once as its memory holds."""

from __future__ import annotations

import base64
import io
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import soundfile

from ...extras import import_extra
from ...modeling.configuration_aura import AuraConfig
from ...modeling.generation_defaults import DEFAULT_MAX_NEW_TOKENS
from ...processing.conversation import build_conversation
from ...processing.mixing import SAMPLING_RATE
from ..compute import best_device
from .answering import Answer, Request


def vllm_answers(
    model: str,
    config: AuraConfig,
    question: str | None,
    context: str | None,
    answer_from: str | None,
    max_new_tokens: int | None,
    temperature: float | None,
    settings: Mapping[str, Any],
) -> Answer:
    """
    vLLM as an engine of [`answer_inputs`].

    Args:
        model: Hub id or folder of a student.
        config: its config.
        question, context: of requests that have none of their own.
        answer_from, max_new_tokens, temperature: as of `aura ask`.
        settings: of `vllm.LLM`.

    Raises:
        ValueError: the student is to answer from a transcript.
        MissingExtraError: vLLM is not installed.
    """
    if (answer_from or config.answer_from) == "transcript":
        raise ValueError("vLLM answers recordings directly: ask with --from audio.")
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")  # nothing is sent to anybody
    vllm = import_extra("vllm", "vllm", "--engine vllm")
    is_eager = best_device() == "cpu"  # where compiling takes minutes
    language_model = vllm.LLM(model=model, limit_mm_per_prompt={"audio": 1}, enforce_eager=is_eager, **settings)

    def answer(requests: Sequence[Request]) -> list[dict[str, Any]]:
        chats = [_chat(request, question, context) for request in requests]
        limits = [
            max_new_tokens
            or max(DEFAULT_MAX_NEW_TOKENS, math.ceil(request.seconds * config.audio_config.tokens_per_second))
            for request in requests
        ]
        sampling = [
            vllm.SamplingParams(temperature=temperature or 0, max_tokens=limit, seed=settings["seed"])
            for limit in limits
        ]
        outputs = language_model.chat(chats, sampling, use_tqdm=False)
        return [
            {"question": request.input.question or question, "answer": output.outputs[0].text.strip()}
            for request, output in zip(requests, outputs, strict=True)
        ]

    return answer


def _chat(request: Request, question: str | None, context: str | None) -> list[dict[str, Any]]:
    """The chat of a request, the recording in it as vLLM takes it."""
    wav = io.BytesIO()
    soundfile.write(wav, request.waveform, SAMPLING_RATE, format="WAV", subtype="FLOAT")
    audio = {"data": base64.b64encode(wav.getvalue()).decode(), "format": "wav"}
    (message,) = build_conversation(wav, request.input.question or question, request.input.context or context)
    parts = [
        {"type": "input_audio", "input_audio": audio} if part["type"] == "audio" else part
        for part in message["content"]
    ]
    return [{**message, "content": parts}]
