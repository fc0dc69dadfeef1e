"""Text, chats and audio to model inputs: every audio becomes as many placeholder tokens as the model has positions for."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from transformers import AutoConfig, AutoTokenizer, BatchFeature, PreTrainedTokenizerBase, ProcessorMixin
from transformers.utils import logging

from .audio_loading import AudioLoadingError, AudioSource, is_array_with_rate, is_samples_list, load_audio
from .audio_tokens import AUDIO_TOKEN, add_audio_token, choose_audio_token, num_audio_tokens
from .call_settings import KNOWN_CALL_KEYWORDS, TEMPLATE_KEYWORDS, call_settings, padding_of, refuse_misspelt
from .conversation import (
    PART_FORMS,
    PLAIN_CHAT_TEMPLATE,
    Conversation,
    FlattenedChats,
    as_batch_of_chats,
)
from .feature_extraction_aura import AuraFeatureExtractor


logger = logging.get_logger(__name__)


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
        audio_token (`str`, defaults to `"<|audio|>"`): marks the place of an audio in a text; a token of the tokenizer, or a new one.
        frames_per_token (`int`, defaults to 8): feature frames in one audio token, as in the model's `audio_config`.
    """

    locate_student: ClassVar[Callable[[str | os.PathLike], str | os.PathLike]] = staticmethod(lambda name: name)
    """Where the student of this name lies, a hub id or folder; `registration` sets it."""

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
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike, *args: Any, **kwargs: Any) -> Any:
        """As in [`ProcessorMixin`]; a student that comes with the package is found by its name, too."""
        return super().from_pretrained(cls.locate_student(pretrained_model_name_or_path), *args, **kwargs)

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
                [`~processing.conversation.PLAIN_CHAT_TEMPLATE`], with a warning.
            kwargs: `token`, `cache_dir` and the like, for `AutoTokenizer.from_pretrained`.

        The audio token is the one that the student has, see [`~processing.audio_tokens.choose_audio_token`].
        """
        base_model = os.fspath(base_model)
        if base_model.endswith(".gguf") and gguf_file is None:
            base_model, gguf_file = os.path.split(os.path.abspath(base_model))
        if gguf_file is not None:
            kwargs["gguf_file"] = gguf_file
        if revision is not None:
            kwargs["revision"] = revision
        tokenizer = AutoTokenizer.from_pretrained(base_model, **kwargs)
        audio_token = choose_audio_token(tokenizer, AutoConfig.from_pretrained(base_model, **kwargs))
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
            audio_token=audio_token,
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
            raise ValueError(f"{type(self).__name__} takes text and audio: an AuRA student takes no images.")
        if text is None and audio is None:
            raise ValueError("Nothing was given: pass `text`, `audio` or both.")
        settings, tokenizer_kwargs = call_settings({"sampling_rate": sampling_rate, **kwargs})
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
            expanded, add_special_tokens=settings["add_special_tokens"], **padding_of(settings), **tokenizer_kwargs
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
                    f"`apply_chat_template` got `{name}`, but audio and text go into the messages, as parts: {PART_FORMS}. "
                    "(Or render the text with `tokenize=False` and call the processor with `text` and `audio`.)"
                )
        template_kwargs = {name: value for name, value in kwargs.items() if name not in KNOWN_CALL_KEYWORDS}
        refuse_misspelt(template_kwargs, (*KNOWN_CALL_KEYWORDS, *TEMPLATE_KEYWORDS), strict=False)
        call_kwargs = {name: value for name, value in kwargs.items() if name in KNOWN_CALL_KEYWORDS}
        settings, tokenizer_kwargs = call_settings({**(processor_kwargs or {}), **call_kwargs})
        if return_tensors is not None and return_tensors != "auto":
            settings["return_tensors"] = return_tensors
        conversations, is_batched = as_batch_of_chats(conversation)
        flattened = FlattenedChats(conversations, self.audio_token)
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
                "`transformers_aura.processing.conversation`."
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
