"""One visitor's chat by voice: what arrives from a browser goes into a stream, and what the page shows comes out."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import StoppingCriteria, StoppingCriteriaList, TextIteratorStreamer

from ...modeling.modeling_aura import AuraForSpeechQA
from ...processing.processing_aura import AuraProcessor
from ...streaming.aura_stream import ConversationFullError, StreamedAnswer
from .chunk_resampler import ChunkResampler


AnswerFrom = Literal["audio", "transcript"]

_PATIENCE_SECONDS = 60.0
"""So long a turn waits for the answer to the one before."""


@dataclass(frozen=True)
class Reply:
    """
    An answer as far as it is there.

    Attributes:
        text: of it.
        recording_seconds: length of the turn's recording; 0 where there is none.
        said: in the recording, as well as it is known; `None` without a recording, and for a student without captions.
        seconds_to_first_token: from the end of the turn; `None` before there is one, and where nobody spoke.
        num_tokens: of the answer, once it is complete.
        seconds: from the end of the turn to the end of the answer, once it is complete.
        note: what a person should know about the recording, such as that it was longer than may be.
    """

    text: str
    recording_seconds: float
    said: str | None
    seconds_to_first_token: float | None = None
    num_tokens: int | None = None
    seconds: float | None = None
    note: str | None = None


class VoiceChat:
    """
    A chat whose recordings arrive in chunks at any rate. Chunks may arrive from another thread than the one that asks for replies.

    Args:
        model ([`AuraForSpeechQA`]): the student.
        processor ([`AuraProcessor`]): the student's.
        max_seconds: of a recording. What is beyond it is not taken; `is_full` tells.
        max_new_tokens: of an answer.
    """

    def __init__(
        self, model: AuraForSpeechQA, processor: AuraProcessor, max_seconds: float, max_new_tokens: int
    ) -> None:
        self._model = model
        self._processor = processor
        self._max_seconds = max_seconds
        self._max_new_tokens = max_new_tokens
        self._has_captions = model.model.character_ctc_head is not None
        self._lock = threading.Lock()
        self.begin(model.config.answer_from)

    def begin(self, answer_from: AnswerFrom) -> None:
        """Begins a new chat; what was said before is forgotten."""
        with self._lock:
            self._is_idle = threading.Lock()  # held while an answer is computed
            self._stream = self._model.stream(self._processor, answer_from=answer_from)
            self._begin_recording()

    def _begin_recording(self) -> None:
        self._resampler = ChunkResampler(self._stream.sampling_rate)
        self._feature_stream = self._processor.feature_extractor.stream()
        self._features: list[NDArray[np.float32]] = []
        self._note: str | None = None

    @property
    def seconds(self) -> float:
        """How much of the recording that comes in is here."""
        return self._feature_stream.num_samples / self._stream.sampling_rate

    @property
    def is_full(self) -> bool:
        """Whether no more of the recording is taken. What came in before can be answered."""
        return self._note is not None

    def hear(self, samples: NDArray, rate: int) -> None:
        """
        Goes on with the recording, up to `max_seconds` of it or the end of the LLM's context.

        Args:
            samples: `(n_samples,)` or `(n_samples, channels)`, floats in [-1, 1] or integers at full scale.
            rate: in hertz.

        Raises:
            AudioLoadingError: samples that [`~transformers_aura.load_audio`] refuses.
        """
        with self._lock:
            self._take(self._resampler.push(samples, rate))

    def _take(self, samples: NDArray[np.float32]) -> None:
        if self.is_full:
            return
        free = round(self._max_seconds * self._stream.sampling_rate) - self._feature_stream.num_samples
        if len(samples) > free:
            samples = samples[:free]
            self._note = f"Only the first {self._max_seconds:g} s were heard: a recording may be no longer here."
        self._features.append(self._feature_stream.push(samples))
        try:
            self._stream.feed(samples)
        except ConversationFullError:
            self._note = "The end was not heard: the chat is as long as the model can take. Begin a new one."

    def captions(self) -> str | None:
        """What is said in the recording so far; `None` for a student without a character CTC head."""
        return self._stream.captions() if self._has_captions else None

    def features(self) -> NDArray[np.float32]:
        """Log-mel frames of the recording so far, `(frames, mel bins)`."""
        empty = np.empty((0, self._processor.feature_extractor.feature_size), dtype=np.float32)
        return np.concatenate([empty, *self._features])

    def reply(self, question: str | None) -> Iterator[Reply]:
        """
        Ends the turn and answers it, with the likeliest words.

        Args:
            question: a written question about the recording; without a recording, the question.

        Yields:
            The answer so far, at last all of it.

        Raises:
            ValueError: there is no recording and no question, or no room in the LLM's context.
            RuntimeError: the answer before is still being given.
        """
        started = time.monotonic()
        question = (question or "").strip() or None
        is_idle = self._is_idle
        if not is_idle.acquire(timeout=_PATIENCE_SECONDS):
            raise RuntimeError("The answer before this one is still being given. Wait for it, or begin a new chat.")
        streamer = _TimedStreamer(self._processor.tokenizer, skip_prompt=True, skip_special_tokens=True)
        left = _Left()
        with ThreadPoolExecutor(1) as worker:
            try:
                with self._lock:
                    self._take(self._resampler.finish())
                    stream, seconds, note = self._stream, self.seconds, self._note
                    if not seconds and question is None:
                        raise ValueError("Nothing to answer: record something, or write a question.")
                    said = self.captions() if seconds else None
                    self._begin_recording()
                answering = worker.submit(
                    stream.answer,
                    question,
                    streamer=streamer,
                    max_new_tokens=self._max_new_tokens,
                    do_sample=False,
                    stopping_criteria=StoppingCriteriaList([left]),
                )
            except BaseException:
                is_idle.release()
                raise

            def ended(_: Future[StreamedAnswer]) -> None:
                is_idle.release()
                streamer.text_queue.put(streamer.stop_signal)

            answering.add_done_callback(ended)
            text = ""
            try:
                for piece in streamer:
                    text += piece
                    yield Reply(text, seconds, said, streamer.seconds_since(started))
            finally:
                left.is_true = True
            answered = answering.result()
        yield Reply(
            answered.text if answered.is_complete else f"{answered.text} —",
            seconds,
            answered.transcript or said,
            streamer.seconds_since(started),
            len(answered.token_ids),
            time.monotonic() - started,
            note,
        )


class _TimedStreamer(TextIteratorStreamer):
    """Knows when the first token of an answer came."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.first_token_at: float | None = None

    def put(self, value: Any) -> None:
        if not self.next_tokens_are_prompt and self.first_token_at is None:
            self.first_token_at = time.monotonic()
        super().put(value)

    def seconds_since(self, started: float) -> float | None:
        """From `started` to the first token; `None` before there is one."""
        return None if self.first_token_at is None else self.first_token_at - started


class _Left(StoppingCriteria):
    """Ends an answer that nobody waits for any more."""

    def __init__(self) -> None:
        self.is_true = False

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor, **kwargs: Any) -> torch.Tensor:
        return torch.full((len(input_ids),), self.is_true, dtype=torch.bool, device=input_ids.device)
