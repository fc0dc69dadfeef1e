"""Chats: the one that a user's request becomes, and chats with audio parts as chats of strings that any template renders."""

import dataclasses
import os
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, TypeAlias

from jinja2 import TemplateError
from transformers.utils.chat_template_utils import render_jinja_template

from . import arguments
from .arguments import described
from .audio_source import AudioSource


TRANSCRIPTION_INSTRUCTION = "Transcribe the audio."
"""What the user asks in a transcription row of training, where the student's processor has no other words for it (`transcription_instruction`)."""

PLAIN_CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ message['role'] | capitalize }}: {{ message['content'] | trim }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}{{ '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)
"""Chat template for a base LLM that has none: `User: ...`, a new line, `Assistant:`."""

Message: TypeAlias = dict[str, Any]
Conversation: TypeAlias = list[Message]

AUDIO_PART_TYPES = ("audio", "input_audio", "audio_url")
"""Types of the parts of a message that hold audio."""

_AUDIO_PART_SOURCES = ("audio", "path", "url", "array", "bytes", "base64")
PART_FORMS = (
    '{"type": "text", "text": ...}, {"type": "audio", "audio" or "path" or "url" or "array" or "bytes" or "base64": ...} '
    'or {"type": "input_audio", "input_audio": {"data": base64, "format": ...}}'
)


def build_conversation(
    audio: AudioSource | None = None,
    question: str | None = None,
    context: str | None = None,
    history: Conversation | None = None,
) -> Conversation:
    """The chat in which a user asks one thing. Training, evaluation, pipeline and command line all build it here.

    Args:
        audio (*optional*): a recording, anything that [`~transformers_aura.load_audio`] takes.
        question (`str`, *optional*): a written question or instruction about it. Without one, the audio is the question.
        context (`str`, *optional*): a text to answer from.
        history (`list[dict]`, *optional*): messages before this one, for instance a system message.

    Returns:
        `list[dict]`: `history` and one user message, whose parts are the context, the audio and the question, in this
        order.

    Example:
        >>> build_conversation(question="Who are you?")
        [{'role': 'user', 'content': [{'type': 'text', 'text': 'Who are you?'}]}]

    Raises:
        TypeError: a question or context that is no string, or a history that is no list of messages.
        ValueError: neither an audio nor a question.
    """
    for name, given in (("question", question), ("context", context)):
        if given is not None:
            arguments.text(f"`{name}`", given)
    if history is not None and not isinstance(history, (list, tuple)):
        raise TypeError(f"`history` must be a list of messages, got {described(history)}.")
    if audio is None and not question:
        raise ValueError(
            "There is nothing to ask: give `audio` (a spoken question), `question` (a written one) or both."
        )
    parts: list[dict[str, Any]] = []
    if context:
        parts.append({"type": "text", "text": f"Context: {context}"})
    if audio is not None:
        parts.append({"type": "audio", "audio": audio})
    if question:
        parts.append({"type": "text", "text": question})
    return [*(history or []), {"role": "user", "content": parts}]


AsText: TypeAlias = Callable[[str, bool], str]
"""Makes of a text one without control tokens; the second argument says whether the assistant wrote it."""


class FlattenedChats:
    """Chats whose messages hold parts, as chats whose messages hold strings, and the audio that goes into them.

    Each message's content is kept as a list of texts between which the audio placeholders go.

    Args:
        conversations: see [`AuraProcessor.apply_chat_template`].
        audio_token: the audio placeholder.
        as_text: applied to every string of every message; without it they stay as they are, and the placeholder is refused.
        as_parts: the template reads parts: the string becomes a list of one text part.
    """

    def __init__(
        self,
        conversations: list[Conversation],
        audio_token: str,
        as_text: AsText | None = None,
        as_parts: bool = False,
    ) -> None:
        self._audio_token = audio_token
        self._as_text = as_text
        self._as_parts = as_parts
        self._chats: list[list[tuple[Message, list[str] | None]]] = []
        self._audio_parts: list[dict[str, Any]] = []
        for conversation in conversations:
            self._chats.append([self._flatten(message, index) for index, message in enumerate(conversation, start=1)])

    def messages(self, audio_text: str) -> list[Conversation]:
        """The chats with `audio_text` in the place of every audio."""
        return self._fill(iter([audio_text] * len(self._audio_parts)))

    def expanded(self, lengths: list[int]) -> tuple[list[Conversation], list[int]]:
        """The chats with every audio's placeholder repeated, and how many placeholders each chat has."""
        chats = self._fill(self._audio_token * length for length in lengths)
        remaining = iter(lengths)
        per_chat = []
        for chat in self._chats:
            num_audios = sum(len(texts) - 1 for _, texts in chat if texts is not None)
            per_chat.append(sum(next(remaining) for _ in range(num_audios)))
        return chats, per_chat

    def audio_sources(self) -> list[Any]:
        """What [`load_audio`] should load, in reading order."""
        return [_audio_source(part) for part in self._audio_parts]

    def _fill(self, audio_texts: Iterable[str]) -> list[Conversation]:
        fillings = iter(audio_texts)
        chats = []
        for chat in self._chats:
            messages = []
            for message, texts in chat:
                if texts is None:
                    messages.append(message)
                    continue
                content = texts[0] + "".join(next(fillings) + text for text in texts[1:])
                messages.append({**message, "content": _as_part(content) if self._as_parts else content})
            chats.append(messages)
        return chats

    def _flatten(self, message: Any, index: int) -> tuple[Message, list[str] | None]:
        message = _fields(message)
        if not isinstance(message, Mapping) or not isinstance(message.get("role"), str) or not message["role"]:
            raise ValueError(
                f'Message {index} of the chat is {described(message)}, not a dict such as {{"role": "user", "content": ...}}.'
            )
        message = {key: value for key, value in message.items() if value is not None}
        where = f"message {index} ({message['role']})"
        by_assistant = message["role"] == "assistant"
        content = message.pop("content", None)
        message = self._checked(message, where, by_assistant)
        if content is None and "tool_calls" in message:
            return message, None
        if isinstance(content, str):
            return message, [self._checked(content, where, by_assistant)]
        if not isinstance(content, (list, tuple)) or not content:
            raise ValueError(
                f"The content of {where} must be a string or a list of parts, got {described(content)}. A part is {PART_FORMS}."
            )
        texts = [""]
        for number, part in enumerate(map(_fields, content)):
            if number > 0:
                texts[-1] += "\n"
            text = self._part_text(part, where)
            if text is None:
                self._audio_parts.append(part)
                texts.append("")
            else:
                texts[-1] += self._checked(text, where, by_assistant)
        return message, texts

    def _part_text(self, part: Any, where: str) -> str | None:
        """The text of a text part, or `None` for an audio part."""
        kind = part.get("type") if isinstance(part, Mapping) else None
        kind = kind if isinstance(kind, str) else None
        if kind in ("text", "input_text", "output_text"):
            if not isinstance(part.get("text"), str):
                raise ValueError(f'The text part of {where} has no "text": {described(part)}.')
            return part["text"]
        if kind in AUDIO_PART_TYPES:
            return None
        if kind in ("image", "image_url", "video", "video_url"):
            raise ValueError(f'{where} has a part of type "{kind}", but an AuRA student takes audio and text only.')
        raise ValueError(f"{where} has the part {described(part)}. A part is {PART_FORMS}.")

    def _checked(self, value: Any, where: str, by_assistant: bool) -> Any:
        """A value of a message, with its strings as text."""

        def checked(text: str) -> str:
            arguments.text(f"The text of {where}", text)
            if self._as_text is not None:
                return self._as_text(text, by_assistant)
            if self._audio_token in text:
                raise ValueError(
                    f"The text of {where} contains '{self._audio_token}', which marks the place of an audio. Use "
                    '{"type": "audio", ...} parts for audio; without `sanitize_control_tokens=False` it is taken as text.'
                )
            return text

        return map_strings(value, checked)


def map_strings(value: Any, function: Callable[[str], str]) -> Any:
    """Lists and dicts with `function` applied to each string in them, but not to keys. Objects with fields become dicts."""
    if isinstance(value, str):
        return function(value)
    value = _fields(value)
    if isinstance(value, Mapping):
        return {key: map_strings(inner, function) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [map_strings(inner, function) for inner in value]
    return value


def _audio_source(part: Mapping[str, Any]) -> Any:
    """What [`load_audio`] takes for an audio part of a message."""
    part = {key: value for key, value in part.items() if value is not None}  # `datasets` fills absent keys with None
    kind = part.pop("type")
    if kind == "input_audio":
        inner = _fields(part.pop("input_audio", None))
        part = {"base64": inner.get("data") if isinstance(inner, Mapping) else inner}
    elif kind == "audio_url":
        inner = _fields(part.pop("audio_url", None))
        part = {"url": inner.get("url") if isinstance(inner, Mapping) else inner}
    sources = [key for key in _AUDIO_PART_SOURCES if part.get(key) is not None]
    unknown = sorted(set(part) - {*_AUDIO_PART_SOURCES, "sampling_rate"})
    if len(sources) != 1 or unknown:
        what = f"unknown keys {unknown}" if unknown else f"{len(sources)} audios"
        raise ValueError(
            f"The audio part {described(part)} has {what}. A part with audio is {PART_FORMS}. (To render placeholders only, "
            "pass `tokenize=False`.)"
        )
    source, rate = part[sources[0]], part.get("sampling_rate")
    if rate is None:
        return source
    if sources[0] == "audio" and isinstance(source, Mapping):
        return {"sampling_rate": rate, **source}
    if isinstance(source, (bytes, bytearray, memoryview)):
        return {"bytes": source, "sampling_rate": rate}
    if isinstance(source, (str, os.PathLike)):
        return {"path": source, "sampling_rate": rate}
    return {"array": source, "sampling_rate": rate}


def _fields(value: Any) -> Any:
    """A dataclass or a pydantic model (what the OpenAI client returns) as a dict; anything else as it is."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if callable(getattr(value, "model_dump", None)):
        return value.model_dump()
    return value


def _as_part(text: str) -> list[dict[str, Any]]:
    return [{"type": "text", "text": text}]


TEMPLATE_ERRORS = (TemplateError, ArithmeticError, AttributeError, LookupError, TypeError)
"""What rendering a template may raise: it is others' code."""

_PROBE = "31415926535"
"""What no template writes by itself."""


@lru_cache(maxsize=64)
def reads_parts(chat_template: str) -> bool:
    """Whether a template shows the text of a part, but not a string: found out by letting it render both."""
    special_tokens = dict.fromkeys(("bos_token", "eos_token", "pad_token", "unk_token"), "")

    def shows(content: Any) -> bool:
        chat = [{"role": "user", "content": content}]
        try:
            texts, _ = render_jinja_template([chat], chat_template=chat_template, **special_tokens)
        except TEMPLATE_ERRORS:
            return False
        return _PROBE in texts[0]

    return not shows(_PROBE) and shows(_as_part(_PROBE))


def as_batch_of_chats(conversation: Any) -> tuple[list[Conversation], bool]:
    """One chat or several, as a list of chats, and whether they were several. A chat may be an object that has `messages`."""
    conversation = getattr(conversation, "messages", conversation)
    if isinstance(conversation, (list, tuple)):
        conversation = [getattr(chat, "messages", chat) for chat in conversation]
    if not isinstance(conversation, (list, tuple)) or len(conversation) == 0:
        raise ValueError(
            f"A chat is a list of messages, or a list of such lists; got {described(conversation)}. For example "
            '[{"role": "user", "content": [{"type": "audio", "audio": "question.wav"}]}].'
        )
    if isinstance(conversation[0], (list, tuple)):
        for chat in conversation:
            if not isinstance(chat, (list, tuple)) or len(chat) == 0:
                raise ValueError(f"Every chat of a batch is a list of messages, got {described(chat)}.")
        return [list(chat) for chat in conversation], True
    return [list(conversation)], False
