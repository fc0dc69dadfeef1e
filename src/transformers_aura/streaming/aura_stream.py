"""`AuraStream`: the student listens while somebody speaks, and answers as soon as they stop."""

from __future__ import annotations

import copy
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from transformers import StoppingCriteria, StoppingCriteriaList

from ..decoding.speech_detection import NOTHING_HEARD
from ..modeling.cache_argument import CACHE_ARGUMENT, STARTS_EMPTY
from ..modeling.context_length import check_context_length, context_length
from ..modeling.dtypes import without_autocast
from ..modeling.generation_defaults import given_settings, with_generation_defaults
from ..modeling.modeling_aura import AuraForSpeechQA
from ..processing.arguments import described, one_of, real_number
from ..processing.audio_samples import to_mono_float32
from ..processing.conversation import AUDIO_PART_TYPES, Conversation, build_conversation
from ..processing.processing_aura import AuraProcessor
from .cached_row import AudioToken, CachedRow, RowToken
from .chat_tokens import chat_tokens
from .incoming_clip import EndedClip, IncomingClip


_ROOM_FOR_ANSWERS = 256
"""Tokens of the LLM's context that audio leaves free for a question and an answer; of a short context a quarter."""

_EXPECT_END_AFTER_SECONDS = 0.3
"""So long into a pause a stream that listens by itself gets ready to answer; what comes later in the pause is no part of the recording."""


class ConversationFullError(ValueError):
    """The LLM's context is full. What came in before can be answered."""


@dataclass(frozen=True)
class StreamedAnswer:
    """
    The answer to one turn.

    Attributes:
        text: without special tokens; [`~transformers_aura.decoding.speech_detection.NOTHING_HEARD`] where nobody spoke.
        token_ids: of the answer; empty where nobody spoke.
        heard: whether anybody speaks in the recording; `None` where that is not known: for a student without a character CTC head, and for a turn
            without a recording.
        transcript: of the recording, where the answer is from it.
        is_complete: `False` where somebody spoke into it.
    """

    text: str
    token_ids: list[int]
    heard: bool | None
    transcript: str | None = None
    is_complete: bool = True


class AuraStream:
    """
    A conversation by voice in which the recording of a turn comes in chunks; made by `model.stream(processor)`.

    Audio embeddings and the LLM's keys and values are computed block by block while the speaker speaks (`tokens_per_block` audio tokens). What is left to
    do at the end is the last, partial block, and the text behind the audio, however long the recording is; only the attention to what is cached grows. An
    answer is, token for token, the one to the whole recordings in the same chat. A student whose clip is one block (`tokens_per_block=None`) can only begin
    when the clip has ended; it works, without being any faster.

    Two exceptions keep memory bounded, both for students with a character CTC head: of a silence of more than 30 s (nobody speaks, by that head) the first
    30 s and the block before speech returns are kept, what lies between is left out; with `pause_seconds`, so is any silence before the speaker begins,
    but for the block before.

    Chunks may be fed from another thread than the one that asks for answers. `feed` while an answer is generated stops the answer (barge-in) and begins
    the next turn.

    Args:
        model ([`AuraForSpeechQA`]): the student.
        processor ([`AuraProcessor`]): the student's.
        prompt_before (`list[dict]`, *optional*): messages before the first turn, for instance a system message; without audio.
        context (`str`, *optional*): a text to answer from, in front of the first recording, see [`build_conversation`].
        pause_seconds (`float`, *optional*): listen by itself, for a microphone that is always on. A turn begins when somebody speaks, `speech_ended` is
            `True` once nothing was said for so long, and only speech stops an answer. Needs a character CTC head. Without it, everything that is fed is part
            of the recording, the caller says when it ends, and any sound stops an answer.
        answer_from (`"audio"` or `"transcript"`, defaults to `"audio"`): `"transcript"`: as a pipeline does it, the recording is written down when it has
            ended, its transcript takes its place in the chat, and the base LLM answers; only the audio embeddings are computed meanwhile.
        chat_template_kwargs (`dict`, *optional*): variables for the chat template, such as `enable_thinking`.

    Example:

    ```python
    stream = model.stream(processor)
    for chunk in microphone:  # samples at 16 kHz, any number of them
        stream.feed(chunk)
        print(stream.captions())
    print(stream.answer().text)
    ```
    """

    def __init__(
        self,
        model: AuraForSpeechQA,
        processor: AuraProcessor,
        prompt_before: Conversation | None = None,
        *,
        context: str | None = None,
        pause_seconds: float | None = None,
        answer_from: Literal["audio", "transcript"] = "audio",
        chat_template_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        if not isinstance(processor, AuraProcessor):
            raise TypeError(f"`processor` must be the student's AuraProcessor, got {described(processor)}.")
        processor.check_belongs_to(model.config.audio_config.to_dict(), model.config.audio_token_id)
        build_conversation("", context=context, history=prompt_before)  # raises where they are of a wrong type
        if any(_has_audio(message) for message in prompt_before or []):
            raise ValueError("`prompt_before` holds audio: feed a recording, or leave it out.")
        if pause_seconds is not None:
            pause_seconds = real_number("pause_seconds", pause_seconds, above=0)
            _check_characters(model, "`pause_seconds`")
        one_of("answer_from", answer_from, ("audio", "transcript"))
        if answer_from == "transcript" and not model.config.can_transcribe:
            raise ValueError('`answer_from="transcript"` needs a CTC head, which this student does not have.')
        self._writes_down = answer_from == "transcript"
        self._model = model
        self.processor = processor
        self._context = context
        self._pause_seconds = pause_seconds
        self._template_kwargs = dict(chat_template_kwargs or {})
        self._before = list(prompt_before or [])
        self._lock = threading.RLock()
        self._interruption: _Interruption | None = None
        self._row = CachedRow(model)
        self._clip: IncomingClip
        self._history: _History
        self._num_clips = 0
        self._num_tokens_before = 0
        self._advanced: tuple[int, int] | None = None
        """Clip and number of its parts that the row holds, with what is before it."""
        self._expected: _ExpectedEnd | None = None
        self.reset()

    @without_autocast
    def reset(self) -> None:
        """Forgets all turns, this one too. The prompt before them stays."""
        with self._lock:
            self._check_idle()
            self._history = _History(list(self._before), [], self._context)
            self._begin_turn()
            self._advance()

    @property
    def conversation(self) -> Conversation:
        """The messages before this turn; audio parts have no source."""
        return list(self._history.messages)

    @property
    def sampling_rate(self) -> int:
        """Of the samples, in hertz."""
        return self.processor.feature_extractor.sampling_rate

    @property
    def device(self) -> torch.device:
        """Where the student computes."""
        return self._model.device

    @property
    def seconds(self) -> float:
        """How much was fed in this turn."""
        return self._clip.seconds

    @property
    def heard(self) -> bool | None:
        """Whether anybody spoke in this turn so far; `None` for a student without a character CTC head."""
        with self._lock:
            return self._clip.heard()

    @property
    def speech_ended(self) -> bool:
        """Whether somebody spoke in this turn, and then nobody for `pause_seconds`. `False` without `pause_seconds`."""
        if self._pause_seconds is None:
            return False
        with self._lock:
            return bool(self._clip.heard()) and self._clip.seconds_since_speech() >= self._pause_seconds

    @without_autocast
    def feed(self, samples: np.ndarray | torch.Tensor | Sequence[float]) -> None:
        """
        Goes on with the recording of this turn.

        Args:
            samples: shape `(n_samples,)`, mono, at `sampling_rate`; any number of them. Floats in [-1, 1] or integers at full scale, see
                [`~transformers_aura.load_audio`].

        Raises:
            AudioLoadingError: samples that [`~transformers_aura.load_audio`] refuses.
            ConversationFullError: the LLM's context is full. What came in before stays, and can be answered.
        """
        chunk = to_mono_float32(samples, "the chunk of the stream", allow_empty=True)
        with self._lock:
            if self._interruption is None and len(chunk):
                self._advance()  # the text before a first chunk, and what came in during an answer
            start = 0
            while start < len(chunk):
                part = chunk[start : start + self._clip.samples_to_next_part()]
                self._check_room(len(part), len(chunk) - start)
                self._clip.push(part)
                start += len(part)
                if self._interruption is None:
                    self._advance()
            if self._interruption is None:
                self._expect_end()
            elif len(chunk) and (self._pause_seconds is None or self._clip.heard()):
                self._interruption.is_wanted = True

    @without_autocast
    def captions(self) -> str:
        """
        What was said in this turn so far, as it is spelled by the likeliest path of the character CTC head: lower case, without punctuation. Its end may
        change while the block of audio goes on.

        Returns:
            the text; empty where nothing was said.

        Raises:
            ValueError: the student has no character CTC head.
        """
        _check_characters(self._model, "`captions`")
        with self._lock:
            return self._clip.captions()

    @without_autocast
    def answer(self, question: str | None = None, *, streamer: Any = None, **generate_kwargs: Any) -> StreamedAnswer:
        """
        Ends the turn and answers it.

        Args:
            question (`str`, *optional*): a written question or instruction about the recording; behind it in the chat. Without one, the recording is the
                question.
            streamer (*optional*): a streamer of transformers, which gets the tokens as they come.
            generate_kwargs: arguments of `generate`. As in a pipeline, an answer has at most 256 tokens, or as many as the recordings where that is more, if
                nothing else is said.

        Returns:
            [`StreamedAnswer`]. A turn in which nobody spoke is left out of the conversation.

        Raises:
            ValueError: an argument of `generate` that a conversation cannot have, or no room in the LLM's context for the answer; the turn goes on then.
            RuntimeError: another answer is being generated.
        """
        self._check_generation(generate_kwargs)
        with self._lock:
            self._check_idle()
            clip, is_spoken = self._clip, self._clip.num_samples > 0
            expected = self._expected if self._is_as_expected(is_exact=True) else None
            ended = clip.ended() if expected is None else expected.clip
            if ended.heard is False and (is_spoken or not question):
                self._begin_turn()
                if streamer is not None:
                    streamer.end()
                return StreamedAnswer(NOTHING_HEARD, [], heard=False)
            if self._expected is not None and expected is None:
                self._row.cut(self._expected.row_length)
            transcript = None
            if is_spoken and self._writes_down:
                transcript = self._transcript(ended) if expected is None else expected.transcript
            messages, clips, tokens = self._prompt(ended if is_spoken else None, transcript, question)
            settings = self._generation_settings(tokens, generate_kwargs)
            self._interruption = interruption = _Interruption()
            self._num_tokens_before = len(tokens)
            self._begin_turn()
        try:
            token_ids = self._generate(tokens, dict(clips), settings, streamer, interruption)
            text = self.processor.batch_decode([token_ids], skip_special_tokens=True)[0].strip()
        except BaseException:
            with self._lock:
                self._row, self._advanced = CachedRow(self._model), None
                if not self._clip.num_samples:
                    self._clip = clip
            raise
        else:
            with self._lock:
                self._history = _History([*messages, {"role": "assistant", "content": text}], clips, None)
        finally:
            with self._lock:
                self._interruption = None
        heard = ended.heard if is_spoken else None
        return StreamedAnswer(text, token_ids, heard, transcript, not interruption.was_heeded)

    def _begin_turn(self) -> None:
        self._num_clips += 1
        self._clip = IncomingClip(
            self._num_clips,
            self._model,
            self.processor.feature_extractor,
            keeps_silence=self._pause_seconds is None,
        )
        self._expected = None

    def _check_idle(self) -> None:
        if self._interruption is not None:
            raise RuntimeError("An answer is being generated: wait for it, or stop it by feeding what is said next.")

    def _tokens(self, messages: Conversation, clips: Sequence[tuple[int, torch.Tensor]]) -> list[RowToken]:
        lengths = [(number, len(embeddings)) for number, embeddings in clips]
        return chat_tokens(self.processor, messages, lengths, **self._template_kwargs)

    def _advance(self) -> None:
        """Computes the LLM's keys and values of the text before the recording, and of its parts that are complete."""
        clip = self._clip
        if self._expected is not None:
            if self._is_as_expected():
                return
            self._row.cut(self._expected.row_length)
            self._expected = None
        if self._writes_down:
            return
        # A clip that is one block has none before its end.
        parts = [] if self._model.config.audio_config.tokens_per_block is None else clip.parts
        if self._advanced == (clip.number, len(parts)):
            return
        history = self._history
        messages = build_conversation("", context=history.context, history=history.messages)
        embeddings = [part.embeddings for part in parts]
        so_far = torch.cat(embeddings) if embeddings else torch.empty(1, 0)  # the place of a recording without parts
        tokens = self._tokens(messages, [*history.clips, (clip.number, so_far)])
        first = next(
            place for place, token in enumerate(tokens) if isinstance(token, AudioToken) and token.clip == clip.number
        )
        num_audio = len(so_far) if embeddings else 0
        limit = context_length(self._model.config.text_config)
        if limit is not None and first + num_audio >= limit:
            raise ConversationFullError(self._full(limit, 0.0))
        self._row.compute(tokens[: first + num_audio], {**dict(history.clips), clip.number: so_far})
        self._num_tokens_before = first
        self._advanced = (clip.number, len(parts))

    def _expect_end(self) -> None:
        """In a pause: computes what an answer needs as if the recording ended now. If it goes on, that is dropped again."""
        if self._pause_seconds is None or self._expected is not None or not self._row.can_go_back:
            return
        after_seconds = min(_EXPECT_END_AFTER_SECONDS, self._pause_seconds / 2)
        if not self._clip.heard() or self._clip.seconds_since_speech() < after_seconds:
            return
        ended = self._clip.ended()
        if not ended.heard:
            return
        transcript = self._transcript(ended) if self._writes_down else None
        _, clips, tokens = self._prompt(ended, transcript, None)
        limit = context_length(self._model.config.text_config)
        if limit is not None and len(tokens) >= limit:
            return
        self._expected = _ExpectedEnd(ended, transcript, len(self._row), after_seconds)
        self._row.compute(tokens[:-1], dict(clips), has_audio=not self._writes_down)

    def _transcript(self, ended: EndedClip) -> str:
        """What was said in this turn, with the text before it as its context."""
        messages = build_conversation("", context=self._history.context, history=self._history.messages)
        tokens = self._tokens(messages, [(self._clip.number, ended.embeddings)])
        audio_token_id = self._model.config.audio_token_id
        ids = [audio_token_id if isinstance(token, AudioToken) else token for token in tokens]
        (transcript,) = self._model.transcribe(
            input_ids=torch.tensor([ids], device=self.device),
            audio_embeds=ended.embeddings[None],
            tokenizer=self.processor.tokenizer,
            method="greedy" if self._model.config.character_ctc_alphabet is None else "beam_search",
        )
        return transcript.text

    def _is_as_expected(self, is_exact: bool = False) -> bool:
        """Whether the end that was expected may be one: nothing was said since."""
        expected = self._expected
        return expected is not None and self._clip.seconds_since_speech(is_exact) >= expected.after_seconds

    def _prompt(
        self, ended: EndedClip | None, transcript: str | None, question: str | None
    ) -> tuple[Conversation, list[tuple[int, torch.Tensor]], list[RowToken]]:
        """The chat with this turn, number and audio embeddings of its recordings, and its tokens.

        Args:
            ended: the recording of this turn; `None`: it has none.
            transcript: what takes its place.
            question: about it.
        """
        history, clips = self._history, self._history.clips
        messages = build_conversation(None if ended is None else "", question, history.context, history.messages)
        if transcript is not None:
            parts = [
                {"type": "text", "text": transcript} if part["type"] == "audio" else part
                for part in messages[-1]["content"]
            ]
            messages[-1] = {**messages[-1], "content": parts}
        elif ended is not None:
            clips = [*clips, (self._clip.number, ended.embeddings)]
        return messages, clips, self._tokens(messages, clips)

    def _check_room(self, num_samples: int, num_left: int) -> None:
        """Raise where so many samples more do not fit; `num_left` of the chunk are not taken yet."""
        limit = context_length(self._model.config.text_config)
        if limit is None:
            return
        free = min(_ROOM_FOR_ANSWERS, limit // 4)
        if self._num_tokens_before + self._clip.tokens_with(num_samples) + free > limit:
            raise ConversationFullError(self._full(limit, num_left / self.sampling_rate))

    def _full(self, limit: int, refused_seconds: float) -> str:
        seconds = self._num_tokens_before / self._model.config.audio_config.tokens_per_second
        return (
            f"The conversation is full: the LLM takes {limit} tokens, of which what was said before this turn takes {self._num_tokens_before} (as many as "
            f"{seconds:.1f} s of audio). Of this turn's recording {self.seconds:.2f} s are kept, and the last {refused_seconds:.2f} s of this chunk were not "
            "taken. `answer()` answers what was said so far; `reset()` begins a new conversation."
        )

    def _check_generation(self, generate_kwargs: Mapping[str, Any]) -> None:
        given = given_settings(self._model, generate_kwargs)
        for name in STARTS_EMPTY:
            if given.get(name) is not None:
                raise ValueError(
                    f"`{name}` does not go with a stream, whose keys and values are there already: leave it out."
                )
        if given.get("use_cache") is False:
            raise ValueError("`use_cache=False` does not go with a stream, which is one cache: leave it out.")
        if (given.get("num_return_sequences") or 1) > 1:
            raise ValueError("A turn of a conversation has one answer: leave out `num_return_sequences`.")

    def _generation_settings(self, tokens: Sequence[RowToken], generate_kwargs: dict[str, Any]) -> dict[str, Any]:
        """Arguments of `generate` with what is missing.

        Raises:
            ValueError: the turn and the answer asked for are longer than the LLM's context.
        """
        num_audio = sum(isinstance(token, AudioToken) for token in tokens)
        asked = generate_kwargs.get("max_new_tokens") or 1
        check_context_length(self._model.config, len(tokens) - num_audio, num_audio, asked)
        return with_generation_defaults(
            self._model, self.processor.tokenizer, generate_kwargs, num_audio=num_audio, num_tokens=len(tokens)
        )

    def _generate(
        self,
        tokens: list[RowToken],
        clips: Mapping[int, torch.Tensor],
        settings: dict[str, Any],
        streamer: Any,
        interruption: _Interruption,
    ) -> list[int]:
        """Token ids of the answer to a prompt."""
        inputs = self._row.generation_inputs(tokens, clips)
        num_beams = given_settings(self._model, settings).get("num_beams") or 1
        if num_beams > 1:  # which leave nothing that could be gone on from
            inputs[CACHE_ARGUMENT] = copy.deepcopy(inputs[CACHE_ARGUMENT])
            inputs[CACHE_ARGUMENT].batch_repeat_interleave(num_beams)
        criteria = StoppingCriteriaList([*(settings.pop("stopping_criteria", None) or []), interruption])
        generated = self._model.generate(**inputs, **settings, streamer=streamer, stopping_criteria=criteria)
        sequences = generated if isinstance(generated, torch.Tensor) else generated.sequences
        token_ids = sequences[0, len(tokens) :].tolist()
        if num_beams == 1:
            self._row.add_generated([*tokens, *token_ids])
        return token_ids


@dataclass(frozen=True)
class _History:
    """
    What was before a turn.

    Attributes:
        messages: of the chat.
        clips: number and audio embeddings of each recording in it.
        context: a text to answer from that the turn begins with.
    """

    messages: Conversation
    clips: list[tuple[int, torch.Tensor]]
    context: str | None


@dataclass(frozen=True)
class _ExpectedEnd:
    """
    The end of a recording that a pause may be.

    Attributes:
        clip: the recording if it ended there; the row holds the prompt with it, but for the last token.
        transcript: what takes its place in the prompt.
        row_length: tokens of the row before.
        after_seconds: the pause had lasted for so long.
    """

    clip: EndedClip
    transcript: str | None
    row_length: int
    after_seconds: float


class _Interruption(StoppingCriteria):
    """Ends an answer once it `is_wanted`."""

    def __init__(self) -> None:
        self.is_wanted = False
        self.was_heeded = False

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor, **kwargs: Any) -> torch.Tensor:
        self.was_heeded = self.is_wanted
        return torch.full((len(input_ids),), self.is_wanted, dtype=torch.bool, device=input_ids.device)


def _check_characters(model: AuraForSpeechQA, what: str) -> None:
    if model.model.character_ctc_head is None:
        raise ValueError(
            f"{what} needs a character CTC head, which this student does not have (`config.character_ctc_alphabet` is None). Train one: in a recipe, "
            "`character_ctc_alphabet: auto` in the section `model` and `character_ctc_weight: 0.5` in `losses`."
        )


def _has_audio(message: Any) -> bool:
    content = message.get("content") if isinstance(message, Mapping) else None
    parts = content if isinstance(content, (list, tuple)) else []
    return any(isinstance(part, Mapping) and part.get("type") in AUDIO_PART_TYPES for part in parts)


__all__ = ["AuraStream", "ConversationFullError", "StreamedAnswer"]
