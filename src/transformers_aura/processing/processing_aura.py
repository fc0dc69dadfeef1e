"""Text, chats and audio to model inputs: every audio becomes as many placeholder tokens as the model has positions for."""

import contextlib
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from transformers import (
    AutoConfig,
    AutoTokenizer,
    BatchFeature,
    PreTrainedConfig,
    PreTrainedTokenizerBase,
    ProcessorMixin,
)
from transformers.utils import CONFIG_NAME, logging
from transformers.utils.chat_template_utils import _compile_jinja_template, render_jinja_template

from ..auto_map import auto_map, loads_by_itself
from ..hub_access import explained
from ..repo_files import PROCESSOR_FILES, TOKENIZER_FILES, check_small_files, naming_damaged_files
from . import arguments
from .audio_errors import AudioLoadingError
from .audio_loading import load_audio
from .audio_source import AudioSource, has_own_sampling_rate, is_array_with_rate, is_samples_list
from .audio_tokens import AUDIO_TOKEN, add_audio_token, choose_audio_token, num_audio_tokens
from .call_settings import KNOWN_CALL_KEYWORDS, TEMPLATE_KEYWORDS, call_settings, refuse_misspelt
from .control_tokens import ControlTokens
from .conversation import (
    PART_FORMS,
    PLAIN_CHAT_TEMPLATE,
    TEMPLATE_ERRORS,
    TRANSCRIPTION_INSTRUCTION,
    Conversation,
    FlattenedChats,
    as_batch_of_chats,
    map_strings,
    reads_parts,
)
from .feature_extraction_aura import AuraFeatureExtractor
from .tokenization import pad, tokenize_texts


logger = logging.get_logger(__name__)

_OLDER_STUDENTS = {"n_fft": 400}
"""Settings of students whose config does not hold them."""

_HUB_KEYWORDS = ("cache_dir", "force_download", "local_files_only", "proxies", "revision", "subfolder", "token")


@loads_by_itself
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
            message's content as one string; if it reads parts only, as one text part.
        audio_token (`str`, defaults to `"<|audio|>"`): marks the place of an audio in a text; a token of the tokenizer, or a new one.
        frames_per_token (`int`, defaults to 8): feature frames in one audio token, as in the model's `audio_config`.
        transcription_instruction (`str`, defaults to `"Transcribe the audio."`): the words that ask the student for a transcript, in any language: those
            that it is trained with.

    Example:

    ```python
    >>> processor = AuraProcessor.from_pretrained("aura-smollm2-135m")
    >>> inputs = processor.apply_chat_template(
    ...     build_conversation("question.wav"),
    ...     add_generation_prompt=True,
    ...     tokenize=True,
    ...     return_dict=True,
    ...     return_tensors="pt",
    ... )
    ```
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
        transcription_instruction: str = TRANSCRIPTION_INSTRUCTION,
    ) -> None:
        if not arguments.text("`transcription_instruction`", transcription_instruction).strip():
            raise ValueError("`transcription_instruction` must not be empty: it asks for a transcript.")
        frames_per_token = arguments.whole_number("frames_per_token", frames_per_token)
        if not isinstance(tokenizer, PreTrainedTokenizerBase):
            raise TypeError(f"`tokenizer` must be the base LLM's tokenizer, got {arguments.described(tokenizer)}.")
        if not arguments.text("`audio_token`", audio_token):
            raise ValueError("`audio_token` must not be empty.")
        super().__init__(feature_extractor, tokenizer, chat_template=chat_template or tokenizer.chat_template)
        self.audio_token = audio_token
        self.audio_token_id = add_audio_token(tokenizer, audio_token)
        self.frames_per_token = frames_per_token
        self.transcription_instruction = transcription_instruction
        tokenizer.chat_template = self.chat_template  # both are saved to the same file
        tokenizer.padding_side = "left"
        if tokenizer.is_fast:  # a state that a saved tokenizer may bring along, see `tokenize_texts`
            tokenizer.backend_tokenizer.no_padding()
            tokenizer.backend_tokenizer.no_truncation()
        if tokenizer.pad_token is None:
            if tokenizer.eos_token is None:
                raise ValueError(
                    "The tokenizer has neither a padding nor an end-of-sequence token: set its `pad_token`."
                )
            tokenizer.pad_token = tokenizer.eos_token

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike, *args: Any, **kwargs: Any) -> Any:
        """As in [`ProcessorMixin`]; a student that comes with the package is found by its name, too.

        Raises:
            ValueError: settings that cannot be, or others than those of the student beside them.
            DamagedFileError: a file cannot be read, or is not what was published.
        """
        name = cls.locate_student(pretrained_model_name_or_path)
        for of_the_model in (
            "dtype",
            "torch_dtype",
        ):  # `pipeline` passes them on, and a tokenizer that keeps one cannot be saved
            kwargs.pop(of_the_model, None)
        hub_kwargs = {key: kwargs[key] for key in _HUB_KEYWORDS if key in kwargs}
        read_here = naming_damaged_files(name, PROCESSOR_FILES, is_all_that_is_read=True, **hub_kwargs)
        with explained(name, hub_kwargs), read_here:
            processor = super().from_pretrained(name, *args, **kwargs)
            if isinstance(processor.chat_template, str):
                _compile_jinja_template(processor.chat_template)
            processor.tokenizer("a")  # some settings of a tokenizer are looked at when it is used
        check_small_files(name, (CONFIG_NAME, *PROCESSOR_FILES), **hub_kwargs)
        try:
            config, _ = PreTrainedConfig.get_config_dict(name, **hub_kwargs)
        except OSError:  # a processor by itself
            return processor
        if config.get("model_type") == "aura":
            processor.check_belongs_to(config.get("audio_config") or {}, config.get("audio_token_id"))
        return processor

    def check_belongs_to(self, audio_config: Mapping[str, Any], audio_token_id: int | None) -> None:
        """
        Raise where this processor was made for another student: its features would mean nothing to it, or other positions would be counted.

        Args:
            audio_config: settings of the student's `audio_config`, by name.
            audio_token_id: the student's.

        Raises:
            ValueError: they differ; the message names the setting.
        """
        of_processor = {
            "frames_per_token": self.frames_per_token,
            "num_mel_bins": self.feature_extractor.feature_size,
            "sampling_rate": self.feature_extractor.sampling_rate,
            "hop_length": self.feature_extractor.hop_length,
            "n_fft": self.feature_extractor.n_fft,
            "audio_token_id": self.audio_token_id,
        }
        of_student = {**_OLDER_STUDENTS, **audio_config, "audio_token_id": audio_token_id}
        for name, value in of_processor.items():
            if of_student.get(name) not in (None, value):
                raise ValueError(
                    f"Model and processor do not belong together: {name} is {of_student[name]} in the model's config and {value} in "
                    "the processor. Load both from the same repo."
                )

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
        transcription_instruction: str = TRANSCRIPTION_INSTRUCTION,
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
            transcription_instruction (`str`, defaults to `"Transcribe the audio."`): the words that ask for a transcript.
            kwargs: `token`, `cache_dir` and the like, for `AutoTokenizer.from_pretrained`.

        Returns:
            the processor, whose tokenizer has the audio token.

        The audio token is the one that the student has, see [`~processing.audio_tokens.choose_audio_token`].
        """
        base_model = os.fspath(base_model)
        if base_model.endswith(".gguf") and gguf_file is None:
            base_model, gguf_file = os.path.split(os.path.abspath(base_model))
        if gguf_file is not None:
            kwargs["gguf_file"] = gguf_file
        if revision is not None:
            kwargs["revision"] = revision
        hub_kwargs = {key: kwargs[key] for key in _HUB_KEYWORDS if key in kwargs}
        files = [gguf_file] if gguf_file is not None else [CONFIG_NAME, *TOKENIZER_FILES]
        read_here = naming_damaged_files(base_model, files, is_all_that_is_read=True, **hub_kwargs)
        with explained(base_model, hub_kwargs), read_here:
            tokenizer = AutoTokenizer.from_pretrained(base_model, **kwargs)
            config = AutoConfig.from_pretrained(base_model, **kwargs)
        audio_token = choose_audio_token(tokenizer, config)
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
            transcription_instruction=transcription_instruction,
        )

    def to_dict(self) -> dict[str, Any]:
        """As in [`ProcessorMixin`], with the `auto_map` by which a saved processor loads by itself."""
        return {**super().to_dict(), "auto_map": auto_map("AutoProcessor")}

    @property
    def model_input_names(self) -> list[str]:
        """Names of everything that the processor makes for the model."""
        return ["input_ids", "attention_mask", *self.feature_extractor.model_input_names]

    def get_num_audio_tokens(self, num_samples: int) -> int:
        """Audio tokens of a clip.

        Args:
            num_samples: its samples, at the feature extractor's sampling rate.

        Returns:
            `ceil(frames / frames_per_token)`.
        """
        return num_audio_tokens(self.feature_extractor.num_frames(num_samples), self.frames_per_token)

    def load_audio(self, source: AudioSource, sampling_rate: int | None = None) -> NDArray[np.float32]:
        """[`~transformers_aura.load_audio`] at the feature extractor's sampling rate.

        Args:
            source: anything that it takes.
            sampling_rate: of plain samples, in hertz.

        Returns:
            `np.ndarray` of shape `(samples,)`, float32, mono.
        """
        return load_audio(source, sampling_rate, target_sampling_rate=self.feature_extractor.sampling_rate)

    def __call__(
        self,
        text: str | Sequence[str] | None = None,
        audio: AudioSource | Sequence[AudioSource] | Sequence[Sequence[AudioSource]] | None = None,
        **kwargs: Any,
    ) -> BatchFeature:
        """Tokenize text with audio placeholders and extract the audio's features. For chats: `apply_chat_template`.

        Args:
            text (`str` or `list[str]`, *optional*): one prompt or a batch, with one `audio_token` where each audio goes.
            audio (*optional*): one audio or a list, in the order of the placeholders of the whole batch; or a list of
                lists, one for each text. Anything that [`~transformers_aura.load_audio`] takes; a 2-D array is one clip
                with channels, never a batch.
            sampling_rate (`int`, *optional*): rate of audio given as plain samples, in hertz. Without it, they are taken to be
                at the feature extractor's, with a warning.
            require_sampling_rate (`bool`, defaults to `False`): plain samples without a rate are an error.
            truncate_to_seconds (`float`, *optional*): cut longer audio. By default nothing is cut.
            padding (`bool` or `str`, defaults to `True`), padding_side (`str`, defaults to `"left"`),
            truncation (`bool`, defaults to `False`), max_length (`int`, *optional*), pad_to_multiple_of (`int`, *optional*):
                as in the tokenizer, for the text, whose own defaults the tokenizer may bring along (but for `truncation`). Audio
                features are padded to the longest, on the right, if `audio_kwargs` do not say otherwise.
            add_special_tokens (`bool`, *optional*): let the tokenizer add its begin token and the like. When not given: yes,
                unless the texts already start with it, as rendered chats do.
            return_tensors (`str`, *optional*): `"pt"` for torch.
            text_kwargs, audio_kwargs, common_kwargs (`dict`, *optional*): the same keywords, grouped; others in `text_kwargs` go to
                the tokenizer. In `audio_kwargs`, `padding`, `max_length` and `pad_to_multiple_of` are those of the
                feature extractor, in frames.
            images, videos, images_kwargs, videos_kwargs (*optional*): accepted for callers that pass every modality, without a
                picture or video; other options of theirs are left out, with a warning.

        Returns:
            `BatchFeature` with `input_ids` and `attention_mask` of shape `(batch, sequence)` if there is text, and
            `input_features` of shape `(num_audios, num_frames, num_mel_bins)` with the bool `input_features_mask` of shape
            `(num_audios, num_frames)` if there is audio.

        Raises:
            TypeError: an unknown keyword, or a value of a wrong type.
            ValueError: not as many audios as placeholders, text with lone surrogates, a keyword that is given flat and in its
                group, pictures, or nothing at all.
            AudioLoadingError: audio that [`~transformers_aura.load_audio`] refuses.
        """
        settings, tokenizer_kwargs, feature_padding = call_settings(kwargs, self.tokenizer.init_kwargs)
        if text is None and audio is None:
            raise ValueError("Nothing was given: pass `text`, `audio` or both.")
        audios = _flatten_audios(audio)
        if text is None:
            if not audios:
                raise ValueError(f"No audio was given: `audio` is {arguments.described(audio)}.")
            features, _ = self._extract_features(audios, settings, feature_padding)
            return BatchFeature(dict(features), tensor_type=settings["return_tensors"])

        texts = _checked_texts(text)
        self._check_placeholders(texts, audio, audios)
        features, lengths = self._extract_features(audios, settings, feature_padding)
        remaining = iter(lengths)
        expanded = []
        for prompt in texts:
            first, *others = prompt.split(self.audio_token)
            expanded.append(first + "".join(self.audio_token * next(remaining) + other for other in others))
        if settings["add_special_tokens"] is None:
            settings["add_special_tokens"] = not self._start_with_begin_token(texts)
        columns = tokenize_texts(
            expanded,
            self.tokenizer,
            ControlTokens.of(self.tokenizer, self.chat_template),
            settings,
            **tokenizer_kwargs,
        )
        return self._batch_feature(
            columns, features, [prompt.count(self.audio_token) for prompt in expanded], settings
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
        sanitize_control_tokens: bool = True,
        **kwargs: Any,
    ) -> Any:
        """Render a chat with the base LLM's template and, with `tokenize=True`, make the model's inputs of it.

        A message's content is a string, or a list of parts: `{"type": "text", "text": ...}`, `{"type": "audio", ...}` with
        one of `audio`, `path`, `url`, `array`, `bytes`, `base64` (and `sampling_rate` beside plain samples), or OpenAI's
        `{"type": "input_audio", "input_audio": {"data": ..., "format": ...}}`. Parts are joined by a new line, so that
        templates that know only strings render them; an audio becomes its placeholder. Messages and parts may be dataclasses or pydantic
        models, too.

        Control tokens (`<|im_end|>`, the audio placeholder, ...) in messages, tools, documents and template variables are text: only the template
        writes real ones. The model reads the tokens of their spelling. A rendered text has an invisible character in each of them
        ([`~processing.control_tokens.BREAK`]), by which [`~AuraProcessor.__call__`] knows them. What a template marks with ordinary text (`User:`,
        `[INST]` in some) cannot be told from what somebody typed.

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
            load_audio_from_video: accepted for callers that pass it as `False`.
            sanitize_control_tokens (`bool`, defaults to `True`): `False`: control tokens in what is given are real ones, as in
                transformers. What the assistant said may in any case hold those that are not special tokens, such as `<think>`.
            kwargs: variables of the template, such as `enable_thinking`.

        Returns:
            With `tokenize=False` a `str` (or `list[str]` for a batch). With `return_dict=True` a `BatchFeature`, see
            [`~AuraProcessor.__call__`], always with a batch dimension. Otherwise its `input_ids`.

        Raises:
            ValueError: a message or a part of an unknown form, an audio part without audio, text with lone surrogates, or a chat that the template
                refuses. With `sanitize_control_tokens=False`: text that contains the placeholder.
            TypeError: a misspelt keyword.
            AudioLoadingError: audio that [`~transformers_aura.load_audio`] refuses.
        """
        if load_audio_from_video:
            raise ValueError(f"{type(self).__name__} takes no video: pass its sound as audio.")
        call_kwargs = arguments.options("processor_kwargs", processor_kwargs)
        arguments.switch("sanitize_control_tokens", sanitize_control_tokens)
        for name, value in (("tools", tools), ("documents", documents)):
            if not isinstance(value, (list, tuple, type(None))):
                raise TypeError(f"`{name}` must be a list, got {arguments.described(value)}.")
        if add_generation_prompt and continue_final_message:
            raise ValueError(
                "`add_generation_prompt` begins a message and `continue_final_message` goes on with one: pass one of them."
            )
        if return_assistant_tokens_mask and (continue_final_message or not (tokenize and return_dict)):
            raise ValueError(
                "`return_assistant_tokens_mask=True` needs `tokenize=True` and `return_dict=True`, and does not go with `continue_final_message`."
            )
        for name in ("audio", "audios", "text", "images", "videos"):
            if name in kwargs or name in call_kwargs:
                raise TypeError(
                    f"`apply_chat_template` got `{name}`, but audio and text go into the messages, as parts: {PART_FORMS}. "
                    "(Or render the text with `tokenize=False` and call the processor with `text` and `audio`.)"
                )
        template_kwargs = {name: value for name, value in kwargs.items() if name not in KNOWN_CALL_KEYWORDS}
        refuse_misspelt(template_kwargs, (*KNOWN_CALL_KEYWORDS, *TEMPLATE_KEYWORDS), strict=False)
        call_kwargs |= {name: value for name, value in kwargs.items() if name in KNOWN_CALL_KEYWORDS}
        settings, tokenizer_kwargs, feature_padding = call_settings(call_kwargs, self.tokenizer.init_kwargs)
        if arguments.one_of("return_tensors", return_tensors, (None, "pt", "np", "mlx", "auto")) not in (None, "auto"):
            settings["return_tensors"] = return_tensors
        conversations, is_batched = as_batch_of_chats(conversation)
        template = self.tokenizer.get_chat_template(self._chat_template(chat_template), tools)
        control_tokens = ControlTokens.of(self.tokenizer, template)

        def as_text(text: str, by_assistant: bool = False) -> str:
            arguments.text("A text of the chat, its tools, documents or template variables", text)
            return control_tokens.as_text(text, self.tokenizer, keep_written=by_assistant)

        special_tokens = self.tokenizer.special_tokens_map
        if sanitize_control_tokens:
            tools, documents = map_strings(tools, as_text), map_strings(documents, as_text)
            # a caller may set special tokens anew, for instance `bos_token=""`
            template_kwargs = {
                name: value if name in special_tokens else map_strings(value, as_text)
                for name, value in template_kwargs.items()
            }
        flattened = FlattenedChats(
            conversations,
            self.audio_token,
            as_text if sanitize_control_tokens else None,
            as_parts=reads_parts(template),
        )
        rendering = {
            "chat_template": template,
            "tools": tools,
            "documents": documents,
            "add_generation_prompt": add_generation_prompt,
            "continue_final_message": continue_final_message,
            "return_assistant_tokens_mask": return_assistant_tokens_mask,
            **special_tokens,
            **template_kwargs,
        }
        if not tokenize:
            texts, _ = _render(flattened.messages(self.audio_token), rendering)
            return texts if is_batched else texts[0]

        features, lengths = self._extract_features(flattened.audio_sources(), settings, feature_padding)
        expanded, num_tokens = flattened.expanded(lengths)
        texts, spans = _render(expanded, rendering)
        if return_assistant_tokens_mask:
            wants_offsets = tokenizer_kwargs.get("return_offsets_mapping", False)
            tokenizer_kwargs["return_offsets_mapping"] = True
        settings["add_special_tokens"] = False
        columns = tokenize_texts(texts, self.tokenizer, control_tokens, settings, **tokenizer_kwargs)
        if return_assistant_tokens_mask:
            columns["assistant_masks"] = [
                _mask_of_spans(offsets, of_row)
                for offsets, of_row in zip(columns["offset_mapping"], spans, strict=True)
            ]
            if not wants_offsets:
                del columns["offset_mapping"]
        inputs = self._batch_feature(columns, features, num_tokens, settings)
        return inputs if return_dict else inputs["input_ids"]

    def _chat_template(self, chat_template: str | None) -> str | None:
        """The template for the tokenizer: a text, the name of one of several, or `None` for its choice among several."""
        if chat_template is not None:
            return arguments.text("`chat_template`", chat_template)
        if self.chat_template is None:
            raise ValueError(
                "This processor has no chat template, because its tokenizer has none (a base LLM without instruction "
                "tuning?). Set one, for instance `processor.chat_template = PLAIN_CHAT_TEMPLATE` from "
                "`transformers_aura.processing.conversation`."
            )
        return self.chat_template if isinstance(self.chat_template, str) else None

    def _extract_features(
        self, sources: Sequence[Any], settings: Mapping[str, Any], padding: Mapping[str, Any]
    ) -> tuple[dict[str, NDArray[Any]], list[int]]:
        """Features of all clips, and how many audio tokens each takes."""
        if not sources:
            return {}, []
        waveforms = []
        for index, source in enumerate(sources, start=1):
            try:
                rate = settings["sampling_rate"]
                if rate is None and not settings["require_sampling_rate"] and not has_own_sampling_rate(source):
                    rate = self.feature_extractor.assumed_sampling_rate()
                waveforms.append(self.load_audio(source, rate))
            except AudioLoadingError as error:
                if len(sources) == 1:
                    raise
                raise AudioLoadingError(f"Audio {index} of {len(sources)}: {error}") from error
        features = self.feature_extractor(
            waveforms,
            sampling_rate=self.feature_extractor.sampling_rate,
            truncate_to_seconds=settings["truncate_to_seconds"],
            **padding,
        )
        lengths = [int(mask.sum()) for mask in features["input_features_mask"]]
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
        columns: Mapping[str, list[list[Any]]],
        features: Mapping[str, NDArray[Any]],
        num_tokens: list[int],
        settings: Mapping[str, Any],
    ) -> BatchFeature:
        """Tokens and features together, after a last look that each audio position survived tokenization."""
        for row, (ids, expected) in enumerate(zip(columns["input_ids"], num_tokens, strict=True), start=1):
            found = ids.count(self.audio_token_id)
            if found != expected:
                raise ValueError(
                    f"Row {row} should have {expected} audio tokens, but after tokenization it has {found}. Either "
                    "`truncation` cut them off (raise `max_length`, or shorten the audio with `truncate_to_seconds`), or the "
                    f"chat template dropped, repeated or itself wrote '{self.audio_token}'."
                )
        rows = pad(columns, self.tokenizer, settings)
        return BatchFeature({**rows, **features}, tensor_type=settings["return_tensors"])


_RENDERING_WITH_MASK = threading.Lock()
"""Before transformers 5.24 a compiled template notes the assistant's spans in itself."""


def _render(chats: list[Conversation], rendering: dict[str, Any]) -> tuple[list[str], list[list[tuple[int, int]]]]:
    """Each chat as a text, and where in it the assistant speaks, if `rendering` asks for that."""
    try:
        with _RENDERING_WITH_MASK if rendering["return_assistant_tokens_mask"] else contextlib.nullcontext():
            return render_jinja_template(chats, **rendering)
    except TEMPLATE_ERRORS as error:
        raise ValueError(f"The chat template cannot render this chat: {error}") from error


def _mask_of_spans(offsets: list[tuple[int, int]], spans: list[tuple[int, int]]) -> list[int]:
    """1 for each token that lies in a span of the text, even in part; both are in order."""
    mask, span = [], 0
    for start, end in offsets:
        while span < len(spans) and start >= spans[span][1]:
            span += 1
        mask.append(int(span < len(spans) and end > spans[span][0]))
    return mask


def _checked_texts(text: Any) -> list[str]:
    texts = [text] if isinstance(text, str) else text
    if not isinstance(texts, (list, tuple)) or not all(isinstance(prompt, str) for prompt in texts):
        raise TypeError(
            f"`text` must be a string or a list of strings, got {arguments.described(text)}. For chats use "
            "`processor.apply_chat_template(messages, tokenize=True, return_dict=True)`."
        )
    if not texts:
        raise ValueError("`text` is an empty list: there is nothing to tokenize.")
    return [arguments.text(f"Text {number}", prompt) for number, prompt in enumerate(texts, start=1)]


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
