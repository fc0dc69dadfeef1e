"""`/v1/audio/transcriptions`: recordings written down, at once or as they are understood."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse

from ...modeling.modeling_aura import AuraForSpeechQA
from ...processing.conversation import build_conversation
from ...processing.processing_aura import AuraProcessor
from .errors import RequestError


FORMATS = ("json", "text")
_UNHEEDED = ("chunking_strategy", "include[]", "language", "prompt", "temperature", "timestamp_granularities[]")
"""Fields of OpenAI's that a student has no use for."""

MIN_NEW_TOKENS = 256
"""Of an answer that is a transcript; one of a long recording may have as many tokens as its audio."""

OnText = Callable[[str], bool]


class Transcriber:
    """Writes down with `transcribe` what a student hears; one without heads for that (a merged checkpoint) is asked to in words."""

    def __init__(self, student: AuraForSpeechQA, processor: AuraProcessor) -> None:
        self._student: Any = student
        self._processor = processor

    def load(self, file: bytes) -> NDArray[np.float32]:
        """
        Samples of an audio file, `(n_samples,)`, at the student's sampling rate.

        Raises:
            AudioLoadingError: it holds no audio that can be read.
        """
        return self._processor.load_audio(file)

    def write_down(self, waveform: NDArray[np.float32], on_text: OnText) -> str:
        """
        Args:
            waveform: from `load`.
            on_text: is given the text so far, whenever there is more of it, and returns whether to stop.
        """
        has_heads = self._student.config.can_transcribe
        audio = {"array": waveform, "sampling_rate": self._processor.feature_extractor.sampling_rate}
        inputs = self._processor.apply_chat_template(
            build_conversation(audio, None if has_heads else self._processor.transcription_instruction),
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            add_generation_prompt=True,
        ).to(self._student.device, dtype=self._student.dtype)
        if has_heads:
            (transcript,) = self._student.transcribe(
                **inputs,
                tokenizer=self._processor.tokenizer,
                method="greedy" if self._student.model.character_ctc_head is None else "beam_search",
                stop=on_text,
            )
            return transcript.text
        prompt = inputs["input_ids"].shape[1]
        answer = self._student.generate(**inputs, max_new_tokens=max(MIN_NEW_TOKENS, prompt), do_sample=False)
        return self._processor.decode(answer[0, prompt:], skip_special_tokens=True).strip()


class TranscriptionRoute:
    """
    The handler of the address.

    Args:
        transcriber: what writes down.
        submit: runs a function in the thread in which the student computes, `submit(function, *arguments) -> asyncio.Future`.
        check_model: raises where a request names another model.
    """

    def __init__(
        self, transcriber: Transcriber, submit: Callable[..., Any], check_model: Callable[[Any], None]
    ) -> None:
        self._transcriber = transcriber
        self._submit = submit
        self._check_model = check_model

    async def answer(self, request: Request) -> Response:
        """Answers one request."""
        async with request.form(max_files=1, max_fields=32) as form:
            file, model = form.get("file"), form.get("model")
            if not isinstance(file, UploadFile):
                raise RequestError(400, "The form has no `file`: send the recording as multipart/form-data.")
            if model is not None:
                self._check_model(model)
            if unknown := sorted({*form.keys()} - {"file", "model", "response_format", "stream", *_UNHEEDED}):
                raise RequestError(400, f"The form has unknown fields: {', '.join(unknown)}.")
            response_format = form.get("response_format", "json")
            if response_format not in FORMATS:
                raise RequestError(
                    400, f"`response_format` must be one of {', '.join(FORMATS)}, got {response_format!r}."
                )
            is_streamed = str(form.get("stream", "false")).lower() == "true"
            content = await file.read()
        waveform = await asyncio.to_thread(self._transcriber.load, content)
        if is_streamed:
            return StreamingResponse(self._events(waveform), media_type="text/event-stream")
        text = await self._submit(self._transcriber.write_down, waveform, lambda text: False)
        return PlainTextResponse(text) if response_format == "text" else JSONResponse({"text": text})

    async def _events(self, waveform: NDArray[np.float32]) -> AsyncIterator[str]:
        """Server-sent events of OpenAI's interface: what is new of the text, and in the end all of it."""
        loop = asyncio.get_running_loop()
        texts: asyncio.Queue[str | None] = asyncio.Queue()
        is_gone = threading.Event()

        def on_text(text: str) -> bool:
            loop.call_soon_threadsafe(texts.put_nowait, text)
            return is_gone.is_set()

        writing = self._submit(self._transcriber.write_down, waveform, on_text)
        writing.add_done_callback(lambda _: texts.put_nowait(None))
        sent = ""
        try:
            while (text := await texts.get()) is not None:
                if text.startswith(sent) and text != sent:
                    yield _event("transcript.text.delta", delta=text[len(sent) :])
                    sent = text
            try:
                text = writing.result()
            except Exception as error:  # the answer has begun: its status cannot say so any more
                yield f"data: {json.dumps({'error': {'message': str(error), 'type': 'server_error'}})}\n\n"
                return
            if text.startswith(sent) and text != sent:
                yield _event("transcript.text.delta", delta=text[len(sent) :])
            yield _event("transcript.text.done", text=text)
        finally:
            is_gone.set()


def _event(kind: str, **fields: str) -> str:
    return f"data: {json.dumps({'type': kind, **fields})}\n\n"
