"""Text, chats and audio to model inputs: every audio becomes as many placeholder tokens as the model has positions for."""

import difflib
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from transformers import AutoTokenizer, BatchFeature, PreTrainedTokenizerBase, ProcessorMixin
from transformers.utils import logging

from .audio_loading import AudioLoadingError, AudioSource, is_array_with_rate, is_samples_list, load_audio
from .audio_tokens import AUDIO_TOKEN, add_audio_token, num_audio_tokens
from .feature_extraction_aura import AuraFeatureExtractor


logger = logging.get_logger(__name__)

TRANSCRIPTION_INSTRUCTION = "Transcribe the audio."
"""What the user asks in a transcription row of training and evaluation."""

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

_AUDIO_PART_SOURCES = ("audio", "path", "url", "array", "bytes", "base64")
_PART_FORMS = (
    '{"type": "text", "text": ...}, {"type": "audio", "audio" or "path" or "url" or "array" or "bytes" or "base64": ...} '
    'or {"type": "input_audio", "input_audio": {"data": base64, "format": ...}}'
)
_CALL_DEFAULTS: dict[str, Any] = {
    "sampling_rate": None,
    "truncate_to_seconds": None,
    "padding": True,
    "padding_side": None,
    "truncation": False,
    "max_length": None,
    "pad_to_multiple_of": None,
    "add_special_tokens": None,
    "return_tensors": None,
}
_GROUPED_KEYWORDS = ("text_kwargs", "audio_kwargs", "common_kwargs")
_COMMON_MISTAKES = {
    "audios": "audio",
    "audio_inputs": "audio",
    "raw_speech": "audio",
    "speech": "audio",
    "texts": "text",
    "prompt": "text",
    "sample_rate": "sampling_rate",
    "sr": "sampling_rate",
}


def build_conversation(
    audio: AudioSource | None = None,
    question: str | None = None,
    context: str | None = None,
    history: Conversation | None = None,
) -> Conversation:
    """The chat in which a user asks one thing. Training, evaluation, pipeline and command line all build it here.

    Args:
        audio (*optional*): what is heard, anything that [`~transformers_aura.load_audio`] takes.
        question (`str`, *optional*): a written question or instruction about it. Without one, the audio is the question.
        context (`str`, *optional*): a text to answer from.
        history (`list[dict]`, *optional*): messages before this one, for instance a system message.

    Returns:
        `list[dict]`: `history` and one user message, whose parts are the context, the audio and the question, in this
        order.

    Raises:
        ValueError: neither an audio nor a question.
    """
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


class AuraProcessor(ProcessorMixin):
    r"""
    Turns text, chats and audio of any kind into the inputs of [`AuraForSpeechQA`].

    The tokenizer is the base LLM's. On construction it gets the audio token if it lacks it, the end-of-sequence token for
    padding if it has no padding token, and padding on the left, which `generate` needs (a data collator for training
    asks for the right: `padding_side="right"`).

    Args:
        feature_extractor ([`AuraFeatureExtractor`]): makes the log-mel features.
        tokenizer (`PreTrainedTokenizerBase`): the base LLM's.
        chat_template (`str`, *optional*): Jinja template of a chat; the tokenizer's own when not given. It sees every
            message's content as one string.
        audio_token (`str`, defaults to `"<|audio|>"`): marks the place of an audio in a text.
        frames_per_token (`int`, defaults to 8): feature frames in one audio token, as in the model's `audio_config`.
    """

    def __init__(
        self,
        feature_extractor: AuraFeatureExtractor,
        tokenizer: PreTrainedTokenizerBase,
        chat_template: str | dict[str, str] | None = None,
        audio_token: str = AUDIO_TOKEN,
        frames_per_token: int = 8,
    ) -> None:
        if frames_per_token < 1:
            raise ValueError(f"`frames_per_token` must be at least 1, got {frames_per_token}.")
        super().__init__(feature_extractor, tokenizer, chat_template=chat_template or tokenizer.chat_template)
        self.audio_token = audio_token
        self.audio_token_id = add_audio_token(tokenizer, audio_token)
        self.frames_per_token = frames_per_token
        tokenizer.chat_template = self.chat_template  # both are saved to the same file
        tokenizer.padding_side = "left"
        if tokenizer.pad_token is None:
            if tokenizer.eos_token is None:
                raise ValueError(
                    "The tokenizer has neither a padding nor an end-of-sequence token: set its `pad_token`."
                )
            tokenizer.pad_token = tokenizer.eos_token

    @classmethod
    def from_language_model_pretrained(
        cls,
        base_model: str | os.PathLike,
        *,
        gguf_file: str | None = None,
        revision: str | None = None,
        num_mel_bins: int = 80,
        frames_per_token: int = 8,
        chat_template: str | None = None,
        **kwargs: Any,
    ) -> "AuraProcessor":
        """A processor for a new student of a base LLM, beside `AuraForSpeechQA.from_language_model_pretrained`.

        Args:
            base_model (`str` or `os.PathLike`): hub id or folder of the base LLM, or the path of a `.gguf` file.
            gguf_file (`str`, *optional*): name of the GGUF file in `base_model`.
            revision (`str`, *optional*): commit, branch or tag of `base_model`.
            num_mel_bins (`int`, defaults to 80): mel bins, as in the model's `audio_config`.
            frames_per_token (`int`, defaults to 8): frames in one audio token, as in the model's `audio_config`.
            chat_template (`str`, *optional*): instead of the base LLM's own. A base without one gets
                [`PLAIN_CHAT_TEMPLATE`], with a warning.
            kwargs: `token`, `cache_dir` and the like, for `AutoTokenizer.from_pretrained`.
        """
        base_model = os.fspath(base_model)
        if base_model.endswith(".gguf") and gguf_file is None:
            base_model, gguf_file = os.path.split(os.path.abspath(base_model))
        if gguf_file is not None:
            kwargs["gguf_file"] = gguf_file
        if revision is not None:
            kwargs["revision"] = revision
        tokenizer = AutoTokenizer.from_pretrained(base_model, **kwargs)
        if chat_template is None and tokenizer.chat_template is None:
            logger.warning(
                f"The tokenizer of '{base_model}' has no chat template, so a plain one is used ('User: ...', "
                "'Assistant:'). Pass `chat_template=` for another."
            )
            chat_template = PLAIN_CHAT_TEMPLATE
        return cls(
            AuraFeatureExtractor(feature_size=num_mel_bins),
            tokenizer,
            chat_template=chat_template,
            frames_per_token=frames_per_token,
        )

    @property
    def model_input_names(self) -> list[str]:
        """Names of everything that the processor makes for the model."""
        return ["input_ids", "attention_mask", *self.feature_extractor.model_input_names]

    def get_num_audio_tokens(self, num_samples: int) -> int:
        """Audio tokens of a clip of `num_samples` samples at the feature extractor's sampling rate."""
        return num_audio_tokens(self.feature_extractor.num_frames(num_samples), self.frames_per_token)

    def load_audio(self, source: AudioSource, sampling_rate: int | None = None) -> NDArray[np.float32]:
        """[`~transformers_aura.load_audio`] at the feature extractor's sampling rate."""
        return load_audio(source, sampling_rate, target_sampling_rate=self.feature_extractor.sampling_rate)

    def __call__(
        self,
        text: str | Sequence[str] | None = None,
        audio: AudioSource | Sequence[AudioSource] | Sequence[Sequence[AudioSource]] | None = None,
        sampling_rate: int | None = None,
        images: None = None,
        videos: None = None,
        **kwargs: Any,
    ) -> BatchFeature:
        """Tokenize text with audio placeholders and extract the audio's features. For chats: `apply_chat_template`.

        Args:
            text (`str` or `list[str]`, *optional*): one prompt or a batch, with one `audio_token` where each audio goes.
            audio (*optional*): one audio or a list, in the order of the placeholders of the whole batch; or a list of
                lists, one for each text. Anything that [`~transformers_aura.load_audio`] takes; a 2-D array is one clip
                with channels, never a batch.
            sampling_rate (`int`, *optional*): rate of audio given as plain samples, in hertz.
            images, videos: accepted for callers that pass every modality; anything but `None` is an error.
            truncate_to_seconds (`float`, *optional*): cut longer audio. By default nothing is cut.
            padding (`bool` or `str`, defaults to `True`), padding_side (`str`, defaults to `"left"`),
            truncation (`bool`, defaults to `False`), max_length (`int`, *optional*), pad_to_multiple_of (`int`, *optional*):
                as in the tokenizer, for the text; audio features are always padded to the longest, on the right.
            add_special_tokens (`bool`, *optional*): let the tokenizer add its begin token and the like. When not given: yes,
                unless the texts already start with it, as rendered chats do.
            return_tensors (`str`, *optional*): `"pt"` for torch.
            text_kwargs, audio_kwargs (`dict`, *optional*): the same keywords, grouped; others in `text_kwargs` go to the
                tokenizer.

        Returns:
            `BatchFeature` with `input_ids` and `attention_mask` of shape `(batch, sequence)` if there is text, and
            `input_features` of shape `(num_audios, num_frames, num_mel_bins)` with the bool `input_features_mask` of shape
            `(num_audios, num_frames)` if there is audio.

        Raises:
            TypeError: an unknown keyword.
            ValueError: not as many audios as placeholders.
            AudioLoadingError: audio that [`~transformers_aura.load_audio`] refuses.
        """
        if images is not None or videos is not None:
            raise ValueError(f"{type(self).__name__} takes text and audio: an AuRA student hears but does not see.")
        if text is None and audio is None:
            raise ValueError("Nothing was given: pass `text`, `audio` or both.")
        settings, tokenizer_kwargs = _call_settings({"sampling_rate": sampling_rate, **kwargs})
        if text is None:
            features, _ = self._extract_features(_flatten_audios(audio), settings)
            return BatchFeature(dict(features), tensor_type=settings["return_tensors"])

        texts = [text] if isinstance(text, str) else list(text)
        for prompt in texts:
            if not isinstance(prompt, str):
                raise TypeError(
                    f"`text` must be a string or a list of strings, got a list with {type(prompt).__name__}. For chats use "
                    "`processor.apply_chat_template(messages, tokenize=True, return_dict=True)`."
                )
        audios = _flatten_audios(audio)
        self._check_placeholders(texts, audio, audios)
        features, lengths = self._extract_features(audios, settings)
        remaining = iter(lengths)
        expanded = []
        for prompt in texts:
            first, *others = prompt.split(self.audio_token)
            expanded.append(first + "".join(self.audio_token * next(remaining) + other for other in others))
        if settings["add_special_tokens"] is None:
            settings["add_special_tokens"] = not self._start_with_begin_token(texts)
        encoded = self.tokenizer(
            expanded, add_special_tokens=settings["add_special_tokens"], **_padding_of(settings), **tokenizer_kwargs
        )
        return self._batch_feature(
            encoded, features, [prompt.count(self.audio_token) for prompt in expanded], settings
        )

    def apply_chat_template(
        self,
        conversation: Conversation | Sequence[Conversation],
        chat_template: str | None = None,
        tools: list[Any] | None = None,
        documents: list[dict[str, str]] | None = None,
        add_generation_prompt: bool = False,
        continue_final_message: bool | str = False,
        return_assistant_tokens_mask: bool = False,
        tokenize: bool = False,
        return_tensors: str | None = None,
        return_dict: bool = False,
        load_audio_from_video: bool = False,
        processor_kwargs: Mapping[str, Any] | None = None,
        sanitize_control_tokens: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Render a chat with the base LLM's template and, with `tokenize=True`, make the model's inputs of it.

        A message's content is a string, or a list of parts: `{"type": "text", "text": ...}`, `{"type": "audio", ...}` with
        one of `audio`, `path`, `url`, `array`, `bytes`, `base64` (and `sampling_rate` beside plain samples), or OpenAI's
        `{"type": "input_audio", "input_audio": {"data": ..., "format": ...}}`. Parts are joined by a new line, so that
        templates that know only strings render them; an audio becomes its placeholder.

        Args:
            conversation (`list[dict]` or a list of them): one chat or a batch of chats.
            chat_template (`str`, *optional*): a template, or the name of one, instead of the processor's.
            tools, documents (*optional*): given to the template.
            add_generation_prompt (`bool`, defaults to `False`): end with the header of the assistant's answer.
            continue_final_message (`bool`, defaults to `False`): leave the last message open, for the model to continue.
            return_assistant_tokens_mask (`bool`, defaults to `False`): also return `assistant_masks`, of `input_ids`' shape.
            tokenize (`bool`, defaults to `False`): load the audio and make inputs; otherwise return the text, with one
                placeholder for each audio part (which then needs no source), for [`~AuraProcessor.__call__`].
            return_tensors (`str`, *optional*): `"pt"` for torch.
            return_dict (`bool`, defaults to `False`): return a `BatchFeature` instead of `input_ids` alone.
            processor_kwargs (`dict`, *optional*): keywords of [`~AuraProcessor.__call__`], such as `sampling_rate`,
                `truncate_to_seconds` or `padding`; they may also be given directly.
            load_audio_from_video, sanitize_control_tokens: accepted for callers that pass them as `False`.
            kwargs: variables of the template, such as `enable_thinking`.

        Returns:
            With `tokenize=False` a `str` (or `list[str]` for a batch). With `return_dict=True` a `BatchFeature`, see
            [`~AuraProcessor.__call__`], always with a batch dimension. Otherwise its `input_ids`.

        Raises:
            ValueError: a message or a part of an unknown form, an audio part without audio, or text that contains the
                placeholder.
            TypeError: a misspelt keyword.
            AudioLoadingError: audio that [`~transformers_aura.load_audio`] refuses.
        """
        if load_audio_from_video:
            raise ValueError(f"{type(self).__name__} takes no video: pass its sound as audio.")
        if sanitize_control_tokens:
            raise ValueError(
                f"{type(self).__name__} does not support `sanitize_control_tokens=True`: the audio placeholder is a control "
                "token itself. Text that contains the placeholder is refused in any case."
            )
        for name in ("audio", "audios", "text", "images", "videos"):
            if name in kwargs or name in (processor_kwargs or {}):
                raise TypeError(
                    f"`apply_chat_template` got `{name}`, but audio and text go into the messages, as parts: {_PART_FORMS}. "
                    "(Or render the text with `tokenize=False` and call the processor with `text` and `audio`.)"
                )
        template_kwargs = {name: value for name, value in kwargs.items() if name not in _KNOWN_CALL_KEYWORDS}
        _refuse_misspelt(template_kwargs, (*_KNOWN_CALL_KEYWORDS, *_TEMPLATE_KEYWORDS), strict=False)
        call_kwargs = {name: value for name, value in kwargs.items() if name in _KNOWN_CALL_KEYWORDS}
        settings, tokenizer_kwargs = _call_settings({**(processor_kwargs or {}), **call_kwargs})
        if return_tensors is not None and return_tensors != "auto":
            settings["return_tensors"] = return_tensors
        conversations, is_batched = _as_batch(conversation)
        flattened = _FlattenedChats(conversations, self.audio_token)
        template = self._chat_template(chat_template)
        rendering = {
            "chat_template": template,
            "tools": tools,
            "documents": documents,
            "add_generation_prompt": add_generation_prompt,
            "continue_final_message": continue_final_message,
            **template_kwargs,
        }
        if not tokenize:
            texts = self.tokenizer.apply_chat_template(
                flattened.messages(self.audio_token), tokenize=False, **rendering
            )
            return texts if is_batched else texts[0]

        features, lengths = self._extract_features(flattened.audio_sources(), settings)
        expanded, num_tokens = flattened.expanded(lengths)
        encoded = self.tokenizer.apply_chat_template(
            expanded,
            tokenize=True,
            return_dict=True,
            return_assistant_tokens_mask=return_assistant_tokens_mask,
            padding=settings["padding"],
            truncation=settings["truncation"],
            max_length=settings["max_length"],
            tokenizer_kwargs={
                "padding_side": settings["padding_side"],
                "pad_to_multiple_of": settings["pad_to_multiple_of"],
                "return_token_type_ids": False,
                **tokenizer_kwargs,
            },
            **rendering,
        )
        inputs = self._batch_feature(encoded, features, num_tokens, settings)
        return inputs if return_dict else inputs["input_ids"]

    def _chat_template(self, chat_template: str | None) -> str | None:
        """The template for the tokenizer: a text, the name of one of several, or `None` for its choice among several."""
        if chat_template is not None:
            return chat_template
        if self.chat_template is None:
            raise ValueError(
                "This processor has no chat template, because its tokenizer has none (a base LLM without instruction "
                "tuning?). Set one, for instance `processor.chat_template = PLAIN_CHAT_TEMPLATE` from "
                "`transformers_aura.processing.processing_aura`."
            )
        return self.chat_template if isinstance(self.chat_template, str) else None

    def _extract_features(
        self, sources: Sequence[Any], settings: Mapping[str, Any]
    ) -> tuple[dict[str, NDArray[Any]], list[int]]:
        """Features of all clips, and how many audio tokens each takes."""
        if not sources:
            return {}, []
        waveforms = []
        for index, source in enumerate(sources, start=1):
            try:
                waveforms.append(self.load_audio(source, settings["sampling_rate"]))
            except AudioLoadingError as error:
                if len(sources) == 1:
                    raise
                raise AudioLoadingError(f"Audio {index} of {len(sources)}: {error}") from error
        features = self.feature_extractor(
            waveforms,
            sampling_rate=self.feature_extractor.sampling_rate,
            truncate_to_seconds=settings["truncate_to_seconds"],
        )
        lengths = features["input_features_mask"].sum(axis=-1).tolist()
        return dict(features), [num_audio_tokens(length, self.frames_per_token) for length in lengths]

    def _check_placeholders(self, texts: list[str], audio: Any, audios: list[Any]) -> None:
        counts = [text.count(self.audio_token) for text in texts]
        advice = (
            f"Write one '{self.audio_token}' where each audio goes, or use `processor.apply_chat_template` with "
            '{"type": "audio", ...} parts.'
        )
        if sum(counts) != len(audios):
            raise ValueError(
                f"The text has {sum(counts)} audio placeholder(s) '{self.audio_token}', but {len(audios)} audio(s) were "
                f"given. {advice}"
            )
        if _is_nested(audio):
            if len(audio) != len(texts):
                raise ValueError(
                    f"{len(texts)} text(s) were given, but {len(audio)} lists of audio: one for each text."
                )
            for index, (count, clips) in enumerate(zip(counts, audio, strict=True), start=1):
                if count != len(_flatten_audios(clips)):
                    raise ValueError(
                        f"Text {index} has {count} audio placeholder(s) '{self.audio_token}', but its list has "
                        f"{len(_flatten_audios(clips))} audio(s). {advice}"
                    )

    def _start_with_begin_token(self, texts: list[str]) -> bool:
        begin = self.tokenizer.bos_token
        starts = [begin is not None and text.startswith(begin) for text in texts]
        if any(starts) and not all(starts):
            raise ValueError(
                f"Some of the texts start with '{begin}' (rendered chats?) and some do not: pass `add_special_tokens=True` "
                "or `False` to say whether the tokenizer should add it."
            )
        return all(starts) and bool(starts)

    def _batch_feature(
        self,
        encoded: Mapping[str, Any],
        features: Mapping[str, NDArray[Any]],
        num_tokens: list[int],
        settings: Mapping[str, Any],
    ) -> BatchFeature:
        """Tokenizer output and features together, after a last look that each audio position survived tokenization."""
        for row, (ids, expected) in enumerate(zip(encoded["input_ids"], num_tokens, strict=True), start=1):
            found = sum(token_id == self.audio_token_id for token_id in ids)
            if found != expected:
                raise ValueError(
                    f"Row {row} should have {expected} audio tokens, but after tokenization it has {found}. Either "
                    "`truncation` cut them off (raise `max_length`, or shorten the audio with `truncate_to_seconds`), or the "
                    f"chat template dropped, repeated or itself wrote '{self.audio_token}'."
                )
        return BatchFeature({**encoded, **features}, tensor_type=settings["return_tensors"])


class _FlattenedChats:
    """Chats whose messages hold parts, as chats whose messages hold strings, and the audio that goes into them.

    Each message's content is kept as a list of texts between which the audio placeholders go.
    """

    def __init__(self, conversations: list[Conversation], audio_token: str) -> None:
        self._audio_token = audio_token
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
                messages.append({**message, "content": content})
            chats.append(messages)
        return chats

    def _flatten(self, message: Any, index: int) -> tuple[Message, list[str] | None]:
        if not isinstance(message, Mapping) or "role" not in message:
            raise ValueError(
                f'Message {index} of the chat is {_short(message)}, not a dict such as {{"role": "user", "content": ...}}.'
            )
        message = {key: value for key, value in message.items() if value is not None}
        where = f"message {index} ({message['role']})"
        content = message.get("content")
        if content is None:
            return message, None
        if isinstance(content, str):
            return message, [self._checked_text(content, where)]
        if not isinstance(content, (list, tuple)):
            raise ValueError(f"The content of {where} must be a string or a list of parts, got {_short(content)}.")
        texts = [""]
        for number, part in enumerate(content):
            if number > 0:
                texts[-1] += "\n"
            text = self._part_text(part, where)
            if text is None:
                self._audio_parts.append(part)
                texts.append("")
            else:
                texts[-1] += self._checked_text(text, where)
        return message, texts

    def _part_text(self, part: Any, where: str) -> str | None:
        """The text of a text part, or `None` for an audio part."""
        kind = part.get("type") if isinstance(part, Mapping) else None
        if kind in ("text", "input_text", "output_text"):
            if not isinstance(part.get("text"), str):
                raise ValueError(f'The text part of {where} has no "text": {_short(part)}.')
            return part["text"]
        if kind in ("audio", "input_audio", "audio_url"):
            return None
        if kind in ("image", "image_url", "video", "video_url"):
            raise ValueError(
                f'{where} has a part of type "{kind}", but an AuRA student hears and reads; it does not see.'
            )
        raise ValueError(f"{where} has the part {_short(part)}. A part is {_PART_FORMS}.")

    def _checked_text(self, text: str, where: str) -> str:
        if self._audio_token in text:
            raise ValueError(
                f"The text of {where} contains '{self._audio_token}', which marks the place of an audio and cannot be "
                'written in a chat. Use {"type": "audio", ...} parts for audio, or spell the text another way.'
            )
        return text


def _audio_source(part: Mapping[str, Any]) -> Any:
    """What [`load_audio`] takes for an audio part of a message."""
    part = {key: value for key, value in part.items() if value is not None}  # `datasets` fills absent keys with None
    kind = part.pop("type")
    if kind == "input_audio":
        inner = part.pop("input_audio", None)
        part = {"base64": inner.get("data") if isinstance(inner, Mapping) else inner}
    elif kind == "audio_url":
        inner = part.pop("audio_url", None)
        part = {"url": inner.get("url") if isinstance(inner, Mapping) else inner}
    sources = [key for key in _AUDIO_PART_SOURCES if part.get(key) is not None]
    unknown = sorted(set(part) - {*_AUDIO_PART_SOURCES, "sampling_rate"})
    if len(sources) != 1 or unknown:
        what = f"unknown keys {unknown}" if unknown else f"{len(sources)} audios"
        raise ValueError(
            f"The audio part {_short(part)} has {what}. A part with audio is {_PART_FORMS}. (To render placeholders only, "
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


def _as_batch(conversation: Any) -> tuple[list[Conversation], bool]:
    """One chat or several, as a list of chats, and whether they were several."""
    if not isinstance(conversation, (list, tuple)) or len(conversation) == 0:
        raise ValueError(
            f"A chat is a list of messages, or a list of such lists; got {_short(conversation)}. For example "
            '[{"role": "user", "content": [{"type": "audio", "audio": "question.wav"}]}].'
        )
    if isinstance(conversation[0], (list, tuple)):
        for chat in conversation:
            if not isinstance(chat, (list, tuple)) or len(chat) == 0:
                raise ValueError(f"Every chat of a batch is a list of messages, got {_short(chat)}.")
        return [list(chat) for chat in conversation], True
    return [list(conversation)], False


def _flatten_audios(audio: Any) -> list[Any]:
    """All audios in reading order. A list of numbers, and a pair of samples and rate, are one audio."""
    if audio is None:
        return []
    if not isinstance(audio, (list, tuple)) or is_samples_list(audio) or is_array_with_rate(audio):
        return [audio]
    return [clip for item in audio for clip in _flatten_audios(item)]


def _is_nested(audio: Any) -> bool:
    """Whether `audio` is a list with one list of audios for each text."""
    return (
        isinstance(audio, (list, tuple))
        and len(audio) > 0
        and not is_samples_list(audio)
        and not is_array_with_rate(audio)
        and all(
            isinstance(item, (list, tuple)) and not is_samples_list(item) and not is_array_with_rate(item)
            for item in audio
        )
    )


_KNOWN_CALL_KEYWORDS = (*_CALL_DEFAULTS, *_GROUPED_KEYWORDS)
_TEMPLATE_KEYWORDS = (
    "chat_template",
    "tools",
    "documents",
    "add_generation_prompt",
    "continue_final_message",
    "return_assistant_tokens_mask",
    "tokenize",
    "return_dict",
    "processor_kwargs",
)


def _call_settings(kwargs: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Keywords of a call, checked and with their defaults, and those that are for the tokenizer alone."""
    given = dict(kwargs)
    flat: dict[str, Any] = {}
    tokenizer_kwargs: dict[str, Any] = {}
    for group in _GROUPED_KEYWORDS:
        for name, value in (given.pop(group, None) or {}).items():
            if name in _CALL_DEFAULTS:
                flat[name] = value
            elif group == "text_kwargs":
                tokenizer_kwargs[name] = value
            else:
                _refuse_misspelt({name: value}, tuple(_CALL_DEFAULTS), strict=True)
    _refuse_misspelt(given, _KNOWN_CALL_KEYWORDS, strict=True)
    flat.update({name: value for name, value in given.items() if value is not None or name not in flat})
    return {**_CALL_DEFAULTS, **flat}, tokenizer_kwargs


def _padding_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    names = ("padding", "padding_side", "truncation", "max_length", "pad_to_multiple_of")
    return {**{name: settings[name] for name in names}, "return_token_type_ids": False}


def _refuse_misspelt(given: Mapping[str, Any], known: tuple[str, ...], strict: bool) -> None:
    """Raise `TypeError` for an unknown keyword, or (not `strict`) for one that looks like a known one."""
    listed = ("text", "audio", *known) if strict else known
    for name in given:
        if name in known:
            continue
        close = [_COMMON_MISTAKES[name]] if name in _COMMON_MISTAKES else []
        close += difflib.get_close_matches(name, ("text", "audio", *known), n=1, cutoff=0.8)
        if strict or close:
            suggestion = f" Did you mean `{close[0]}`?" if close else ""
            raise TypeError(
                f"AuraProcessor got an unexpected keyword argument `{name}`.{suggestion} It takes: {', '.join(listed)}."
            )


def _short(value: Any) -> str:
    """A value for a message, without its data."""
    text = (
        repr(value)
        if isinstance(value, (str, dict, list, tuple, int, float, type(None)))
        else f"a {type(value).__name__}"
    )
    return text if len(text) <= 120 else text[:117] + "..."
