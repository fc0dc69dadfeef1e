"""`pipeline("audio-question-answering")`: ask a student by voice, by voice and text, or in a chat."""

from __future__ import annotations

import collections.abc
import difflib
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch.utils.data import DataLoader, Dataset
from transformers import BatchFeature, GenerationConfig, Pipeline
from transformers.pipelines.pt_utils import PipelineDataset, PipelineIterator

from ..decoding.speech_detection import NOTHING_HEARD
from ..modeling.context_length import check_context_length
from ..modeling.dtypes import without_autocast
from ..modeling.generation_defaults import given_settings, limits_alone, with_generation_defaults
from ..modeling.modeling_aura import AuraForSpeechQA
from ..modeling.prompt_cache import PromptCache
from ..modeling.transcripts import Transcript
from ..processing import arguments
from ..processing.audio_tokens import clips_of_rows
from ..processing.conversation import Conversation
from ..processing.processing_aura import AuraProcessor
from .cascade import cached_prefix, with_transcripts
from .generation_arguments import checked, generate_keywords
from .requests import Request, RequestDataset, conversation_of, input_error, is_one_input


_PREPROCESS_KEYWORDS = (
    "question",
    "context",
    "sampling_rate",
    "truncate_to_seconds",
    "continue_final_message",
    "sanitize_control_tokens",
    "chat_template_kwargs",
)
_FORWARD_KEYWORDS = ("answer_from",)
_POSTPROCESS_KEYWORDS = ("skip_special_tokens",)
_BATCHING = {"batch_size": 1, "num_workers": 0}  # and the least that each may be


class AudioQuestionAnsweringPipeline(Pipeline):
    """
    Answers spoken questions, and questions about speech, with an [`AuraForSpeechQA`].

    Example:

    ```python
    from transformers import pipeline
    import transformers_aura

    pipe = pipeline("audio-question-answering", model="org/student")
    pipe("question.wav")  # [{"answer": "Paris.", "heard": True, "transcript": "What is the capital of France?"}]
    pipe("question.wav", answer_from="audio")  # at once, without a transcript
    pipe({"audio": "talk.flac", "question": "Who is speaking?"}, max_new_tokens=20)
    pipe([{"role": "user", "content": [{"type": "audio", "path": "question.wav"}]}])
    ```

    One input is one of

    - a spoken question alone: anything that [`~transformers_aura.load_audio`] takes (a path, URL, bytes,
      `{"array": ..., "sampling_rate": ...}`, what `datasets` yields, or plain samples together with `sampling_rate=`);
    - a dict with `"audio"`, `"question"` (written), `"context"` (a text to answer from) and `"history"` (messages before),
      each optional, but an audio or a question there must be;
    - a chat: a list of messages, or `{"messages": [...]}`, see [`AuraProcessor.apply_chat_template`].

    Several inputs are a list (the result is a list), or a generator, an iterator or a dataset (the result is an iterator
    that works as it is read). `batch_size=` answers as many at a time.

    Args:
        model ([`AuraForSpeechQA`]): a student. `model_kwargs={"merge_lora": True}` loads it as it is fastest where most requests have audio.
        processor ([`AuraProcessor`]): of that student.
        reuse_prompts (`bool`, defaults to `False`): keep what direct requests begin with (a system message) from one to the next, see [`PromptCache`]: the
            first token of the answer comes sooner. In 16-bit formats a request can then be rounded otherwise than the first time.
        kwargs: as of every pipeline, and what its calls take, as defaults.
    """

    _load_processor = True
    _load_image_processor = False
    _load_video_processor = False
    _load_feature_extractor = False
    _load_tokenizer = False

    def __init__(
        self,
        model: AuraForSpeechQA,
        processor: AuraProcessor | None = None,
        *,
        reuse_prompts: bool = False,
        **kwargs: Any,
    ) -> None:
        if not isinstance(model, AuraForSpeechQA):
            raise TypeError(
                f"The audio-question-answering pipeline runs an AuraForSpeechQA, got a {type(model).__name__}: "
                "is this the repo of an AuRA student?"
            )
        if not isinstance(processor, AuraProcessor):
            raise TypeError(
                f"The audio-question-answering pipeline needs `processor=` to be an AuraProcessor, got "
                f"{type(processor).__name__}."
            )
        processor.check_belongs_to(model.config.audio_config.to_dict(), model.config.audio_token_id)
        _check_batching(kwargs)
        arguments.switch("reuse_prompts", reuse_prompts)
        self._prompt_cache = PromptCache(model) if reuse_prompts else None
        self._generate_keywords = generate_keywords(model)
        super().__init__(model=model, processor=processor, **kwargs)

    def _sanitize_parameters(
        self, generate_kwargs: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        if not isinstance(generate_kwargs, (Mapping, type(None))):
            raise TypeError(f"`generate_kwargs` must be a dict, got {arguments.described(generate_kwargs)}.")
        known = {*_PREPROCESS_KEYWORDS, *_FORWARD_KEYWORDS, *self._generate_keywords, *_POSTPROCESS_KEYWORDS}
        for name in [*kwargs, *(generate_kwargs or {})]:
            if name not in known:
                close = difflib.get_close_matches(name, known, n=1, cutoff=0.7)
                suggestion = f" Did you mean `{close[0]}`?" if close else ""
                raise TypeError(
                    f"The audio-question-answering pipeline got an unexpected keyword argument `{name}`.{suggestion} It "
                    f"takes {', '.join((*_PREPROCESS_KEYWORDS, *_FORWARD_KEYWORDS, *_POSTPROCESS_KEYWORDS))}, batch_size, num_workers and every "
                    "argument of `generate`, such as max_new_tokens, num_beams, do_sample, streamer or generation_config."
                )
        twice = sorted(set(kwargs) & set(generate_kwargs or {}))
        if twice:
            raise ValueError(f"{twice} were given both directly and in `generate_kwargs`: give each once.")
        _check_arguments(kwargs)
        for name in ("sanitize_control_tokens", "skip_special_tokens"):
            if kwargs.get(name, True) is None:
                del kwargs[name]
        preprocess = {name: kwargs.pop(name) for name in _PREPROCESS_KEYWORDS if name in kwargs}
        postprocess = {name: kwargs.pop(name) for name in _POSTPROCESS_KEYWORDS if name in kwargs}
        return preprocess, checked({**kwargs, **(generate_kwargs or {})}), postprocess

    def __call__(
        self, inputs: Any, **kwargs: Any
    ) -> list[dict[str, Any]] | list[list[dict[str, Any]]] | Iterator[Any]:
        """Answer one input or several, see the class for their forms.

        Args:
            inputs: one input, or a list, iterator, generator or dataset of them.
            question (`str`, *optional*): written question for all inputs that have none of their own.
            context (`str`, *optional*): context for all inputs that have none of their own.
            sampling_rate (`int`, *optional*): rate of audio given as plain samples, in hertz.
            truncate_to_seconds (`float`, *optional*): cut longer audio. By default nothing is cut.
            continue_final_message (`bool`, *optional*): continue the last message of a chat instead of answering it; by
                default where it is the assistant's.
            sanitize_control_tokens (`bool`, defaults to `True`): control tokens in questions, contexts, chats and transcripts are text, see
                [`AuraProcessor.apply_chat_template`].
            chat_template_kwargs (`dict`, *optional*): variables for the chat template, such as `enable_thinking`.
            answer_from (`"audio"` or `"transcript"`, *optional*): `"audio"`: the student answers the recording directly. `"transcript"`: it writes the
                recordings down, the transcripts take the place of the audio in the chat, and the base LLM answers. By default as the student's config says.
            skip_special_tokens (`bool`, defaults to `True`): leave special tokens out of the answer.
            batch_size (`int`, defaults to 1), num_workers (`int`, defaults to 0): for several inputs.
            kwargs: every argument of `generate`. Without `max_new_tokens` or `max_length`, here or in the model's
                generation config, an answer has at most 256 tokens, or as many as the audio where that is more (12.5 a
                second in most students): what is said in a long recording fits in. With a warning it has fewer where the LLM's context ends.

        Returns:
            For one input `[{"answer": str, "heard": bool, "transcript": str}]`, with one dict for each of `num_return_sequences` answers; for several a list
            or an iterator of these. `"heard"` says whether anybody speaks in the recordings, for students with a character CTC head; where nobody does, the answer
            is [`NOTHING_HEARD`]. `"transcript"` is there where the answer is from the transcript; it is empty where nobody speaks, and of several recordings it holds one line each.

        Raises:
            TypeError: an unknown keyword, or a value of a wrong type.
            ValueError: an input of an unknown form, with unknown keys, or without anything to ask; a value out of range; a request that is longer
                than the LLM's context.
            AudioLoadingError: audio that [`~transformers_aura.load_audio`] refuses, and plain samples without a rate.
        """
        _check_batching(kwargs)
        kwargs = self._over_the_pipelines_own(kwargs)
        if is_one_input(inputs):
            return super().__call__(Request(inputs), **kwargs)
        if isinstance(inputs, (list, tuple)):
            if not inputs:
                settings = {name: kwargs[name] for name in kwargs if name not in _BATCHING}
                self._sanitize_parameters(**settings)  # raises for what the call of one input raises for
                return []
            return super().__call__([Request(item) for item in inputs], **kwargs)
        if isinstance(inputs, (Dataset, collections.abc.Sized)) and not isinstance(
            inputs, torch.utils.data.IterableDataset
        ):
            return super().__call__(RequestDataset(inputs), **kwargs)
        if isinstance(inputs, collections.abc.Iterable):
            return super().__call__((Request(item) for item in inputs), **kwargs)
        raise ValueError(input_error(inputs))

    def _over_the_pipelines_own(self, given: dict[str, Any]) -> dict[str, Any]:
        """Arguments of a call, in which its generation config holds against what the pipeline was made with, as an argument by name does."""
        grouped = given.get("generate_kwargs")
        by_name = {**given, **(grouped if isinstance(grouped, Mapping) else {})}
        config = by_name.get("generation_config")
        if not isinstance(config, GenerationConfig):
            return given
        settings = config.to_diff_dict()
        return {**given, **{name: settings[name] for name in settings if name in {*self._forward_params} - {*by_name}}}

    def preprocess(
        self,
        input_: Request,
        question: str | None = None,
        context: str | None = None,
        sampling_rate: int | None = None,
        truncate_to_seconds: float | None = None,
        continue_final_message: bool | None = None,
        sanitize_control_tokens: bool = True,
        chat_template_kwargs: Mapping[str, Any] | None = None,
    ) -> BatchFeature:
        """Model inputs of one request, with a batch dimension of 1; and its chat, for an answer from the transcript."""
        conversation = conversation_of(input_.value, question, context)
        if continue_final_message is None:
            continue_final_message = conversation[-1].get("role") == "assistant"
        template_kwargs = {
            "add_generation_prompt": not continue_final_message,
            "continue_final_message": continue_final_message,
            "sanitize_control_tokens": sanitize_control_tokens,
            **(chat_template_kwargs or {}),
        }
        inputs = self._inputs(
            conversation,
            template_kwargs,
            {
                "sampling_rate": sampling_rate,
                "require_sampling_rate": True,
                "truncate_to_seconds": truncate_to_seconds,
            },
        )
        inputs["chats"] = [Chat(conversation, template_kwargs)]
        return inputs

    def _inputs(
        self,
        conversation: Conversation,
        template_kwargs: dict[str, Any],
        processor_kwargs: dict[str, Any] | None = None,
    ) -> BatchFeature:
        inputs = self.processor.apply_chat_template(
            conversation,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            **({"processor_kwargs": processor_kwargs} if processor_kwargs else {}),
            **template_kwargs,
        )
        return inputs.to(dtype=self.dtype)

    @without_autocast
    def _forward(
        self,
        input_tensors: Mapping[str, Any],
        answer_from: Literal["audio", "transcript"] | None = None,
        **generate_kwargs: Any,
    ) -> dict[str, Any]:
        """
        Answers the requests of a batch.

        Returns:
            `answer_ids`, token ids of `(batch, num_return_sequences, tokens)`; `heard`, whether anybody speaks in each request's recordings (`None`: it is not
            known, or there are none); and `transcript`, the text of its recordings where the answer is from it.
        """
        inputs = dict(input_tensors)
        chats: list[Chat] = inputs.pop("chats")
        from_transcript = (answer_from or self.model.config.answer_from) == "transcript"
        self._check_length(inputs, generate_kwargs, without_audio=from_transcript)
        if "input_features" not in inputs:
            answers = self._generate(inputs, generate_kwargs)
            return {"answer_ids": answers, "heard": [None] * len(chats), "transcript": [None] * len(chats)}
        started = time.monotonic()
        features = self.model.get_audio_features(inputs.pop("input_features"), inputs.pop("input_features_mask"))
        inputs |= {"audio_embeds": features.last_hidden_state, "audio_embeds_mask": features.audio_token_mask}
        rows = self._rows_of_clips(inputs)
        heard = self._heard(inputs, rows, len(chats))
        answered = [row for row in range(len(chats)) if heard[row] is not False]
        transcripts: list[str | None] = ["" if from_transcript else None] * len(chats)
        if not answered:
            answers = torch.zeros((0, 1, 0), dtype=torch.long)
        elif from_transcript:
            inputs = self._select(inputs, rows, answered)
            answers, texts = self._answer_from_transcripts(
                inputs, [chats[row] for row in answered], generate_kwargs, started
            )
            for row, text in zip(answered, texts, strict=True):
                transcripts[row] = text
        else:
            answers = self._generate(self._select(inputs, rows, answered), generate_kwargs)
        return {"answer_ids": self._spread(answers, answered, len(chats)), "heard": heard, "transcript": transcripts}

    def _check_length(self, inputs: Mapping[str, Any], generate_kwargs: dict[str, Any], without_audio: bool) -> None:
        """Raise where a request and the answer asked for are longer than the LLM's context; `without_audio`: where its text alone is."""
        asked = generate_kwargs.get("max_new_tokens") or 1
        num_audio = (inputs["input_ids"] == self.model.config.audio_token_id).sum(-1)
        num_audio *= "input_features" in inputs  # else it is text like any other
        num_text = inputs["attention_mask"].sum(-1) - num_audio
        for text, audio in zip(num_text.tolist(), num_audio.tolist(), strict=True):
            check_context_length(self.model.config, text, 0 if without_audio else audio, asked)

    def _rows_of_clips(self, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        clip_tokens = inputs["audio_embeds_mask"].sum(-1)
        return clips_of_rows(
            clip_tokens, self.model.model.find_audio_positions(inputs["input_ids"], clip_tokens).sum(-1)
        )

    def _heard(self, inputs: Mapping[str, torch.Tensor], rows: torch.Tensor, num_rows: int) -> list[bool | None]:
        """Whether anybody speaks in any clip of each request; `None` where it has none, or where the student cannot tell."""
        speech = self.model.contains_speech(inputs["audio_embeds"], inputs["audio_embeds_mask"])
        heard: list[bool | None] = [None] * num_rows
        for row, speaks in zip(rows.tolist(), speech or [], strict=False):
            heard[row] = bool(heard[row]) or speaks
        return heard

    @staticmethod
    def _select(inputs: Mapping[str, torch.Tensor], rows: torch.Tensor, kept: list[int]) -> dict[str, torch.Tensor]:
        """Some rows of a batch, with their clips."""
        clips = torch.isin(rows, torch.tensor(kept, device=rows.device))
        return {
            name: value[clips] if name.startswith("audio_embeds") else value[kept] for name, value in inputs.items()
        }

    @staticmethod
    def _spread(answers: torch.Tensor, rows: list[int], num_rows: int) -> torch.Tensor:
        """Answers of some rows at their places, the others empty."""
        if len(rows) == num_rows:
            return answers
        spread = answers.new_zeros((num_rows, *answers.shape[1:]))
        spread[rows] = answers
        return spread

    def _answer_from_transcripts(
        self, inputs: dict[str, torch.Tensor], chats: list[Chat], generate_kwargs: dict[str, Any], started: float
    ) -> tuple[torch.Tensor, list[str | None]]:
        """Answers of the base LLM to chats in which transcripts stand in the place of the audio, and these."""
        max_time = given_settings(self.model, generate_kwargs).get("max_time")
        transcripts = self.model.transcribe(
            **inputs,
            tokenizer=self.processor.tokenizer,
            method="greedy" if self.model.config.character_ctc_alphabet is None else "beam_search",
            max_seconds=max_time,
        )
        rows = self._rows_of_clips(inputs).tolist()
        of_rows: list[list[Transcript]] = [[] for _ in chats]
        for row, transcript in zip(rows, transcripts, strict=True):
            of_rows[row].append(transcript)
        written = [
            self._inputs(
                with_transcripts(chat.conversation, [transcript.text for transcript in of_row]), chat.template_kwargs
            )
            for chat, of_row in zip(chats, of_rows, strict=True)
        ]
        batch = dict(self._collate_tensors(written).to(self.device))
        try:
            self._check_length(batch, generate_kwargs, without_audio=True)
        except ValueError as error:
            longest = max(len(transcript.token_ids) for transcript in transcripts)
            raise ValueError(
                f"The transcript, of {longest} tokens, does not fit into the chat: {error} Or ask about a part of the recording (`truncate_to_seconds`); "
                "`model.transcribe` writes down recordings of any length."
            ) from None
        if len(transcripts) == 1 and len(written) == 1:
            batch |= cached_prefix(
                batch["input_ids"], transcripts[0].text_cache, given_settings(self.model, generate_kwargs)
            )
        if max_time is not None:
            generate_kwargs = {**generate_kwargs, "max_time": max(max_time - (time.monotonic() - started), 1e-3)}
        texts = ["\n".join(transcript.text for transcript in of_row) if of_row else None for of_row in of_rows]
        return self._generate(batch, generate_kwargs), texts

    def _generate(self, inputs: dict[str, Any], generate_kwargs: dict[str, Any]) -> torch.Tensor:
        """Token ids of the answers, `(batch, num_return_sequences, tokens)`."""
        input_ids = inputs["input_ids"]
        num_audio = (input_ids == self.model.config.audio_token_id).sum(-1) * ("audio_embeds" in inputs)
        settings = with_generation_defaults(
            self.model,
            self.processor.tokenizer,
            generate_kwargs,
            num_audio=int(num_audio.max()),
            num_tokens=input_ids.shape[1],
        )
        try:
            if self._prompt_cache is None:
                generated = self.model.generate(**inputs, **settings)
            else:
                with self._prompt_cache.reused(inputs, **settings) as reused:
                    generated = self.model.generate(**reused, **settings)
        except (
            AttributeError,
            LookupError,
            TypeError,
        ) as error:  # what transformers raises for a value of a wrong kind
            if not generate_kwargs:
                raise
            names = ", ".join(f"`{name}`" for name in generate_kwargs)
            raise ValueError(f"`generate` cannot use what it was given as {names}: {error}") from error
        sequences = generated if isinstance(generated, torch.Tensor) else generated.sequences
        answers = sequences[:, input_ids.shape[1] :]
        answers_per_input = len(answers) // len(input_ids)
        answers = answers.reshape(len(input_ids), answers_per_input, answers.shape[-1])
        limits = limits_alone(self.model, generate_kwargs, num_audio.tolist())
        if limits is not None:  # that of the batch is of its longest recording
            is_beyond = torch.arange(answers.shape[-1]) >= torch.tensor(limits)[:, None, None]
            answers = answers.masked_fill(is_beyond.to(answers.device), self.processor.tokenizer.pad_token_id)
        return answers

    def postprocess(self, model_outputs: Mapping[str, Any], skip_special_tokens: bool = True) -> list[dict[str, Any]]:
        """`[{"answer": ...}, ...]` of one request."""
        heard, transcript = (_of_one(model_outputs[name]) for name in ("heard", "transcript"))
        known = {} if heard is None else {"heard": heard}
        if transcript is not None:
            known["transcript"] = transcript
        if heard is False:
            return [{"answer": NOTHING_HEARD, **known}]
        texts = self.processor.batch_decode(model_outputs["answer_ids"][0], skip_special_tokens=skip_special_tokens)
        return [{"answer": text.strip(), **known} for text in texts]

    def get_iterator(
        self,
        inputs: Any,
        num_workers: int,
        batch_size: int,
        preprocess_params: dict[str, Any],
        forward_params: dict[str, Any],
        postprocess_params: dict[str, Any],
    ) -> PipelineIterator:
        """As in the base class, which however can pad only one way: text goes left, audio features right."""
        is_sized = isinstance(inputs, collections.abc.Sized)
        source = PipelineDataset if is_sized else PipelineIterator
        loader = DataLoader(
            source(inputs, self.preprocess, preprocess_params),
            num_workers=num_workers if is_sized else min(num_workers, 1),
            batch_size=batch_size,
            collate_fn=self._collate,
        )
        outputs = PipelineIterator(loader, self.forward, forward_params, loader_batch_size=batch_size)
        return PipelineIterator(outputs, self.postprocess, postprocess_params)

    def save_pretrained(self, save_directory: str | os.PathLike, **kwargs: Any) -> None:
        """Save the student and its processor; nothing is added to its config, so that it loads as any other student."""
        self.model.save_pretrained(save_directory, **kwargs)
        self.processor.save_pretrained(save_directory)

    def _collate(self, items: list[BatchFeature]) -> BatchFeature:
        """Inputs of single requests as one batch."""
        batch = self._collate_tensors(items)
        batch["chats"] = [chat for item in items for chat in item["chats"]]
        return batch

    def _collate_tensors(self, items: list[BatchFeature]) -> BatchFeature:
        """Text padded on the left, audio features on the right."""
        if len(items) == 1:
            return items[0]
        pad_token_id = self.processor.tokenizer.pad_token_id
        batch = {
            "input_ids": _pad_rows([item["input_ids"] for item in items], pad_token_id, left=True),
            "attention_mask": _pad_rows([item["attention_mask"] for item in items], 0, left=True),
        }
        with_audio = [item for item in items if "input_features" in item]
        if with_audio:
            silence = self.processor.feature_extractor.padding_value
            batch["input_features"] = _pad_rows([item["input_features"] for item in with_audio], silence)
            batch["input_features_mask"] = _pad_rows([item["input_features_mask"] for item in with_audio], False)
        return BatchFeature(batch)


@dataclass(frozen=True)
class Chat:
    """A request as a chat, and how the template renders it."""

    conversation: Conversation
    template_kwargs: dict[str, Any]


def _check_batching(given: Mapping[str, Any]) -> None:
    for name, least in _BATCHING.items():
        if given.get(name) is not None:
            arguments.whole_number(name, given[name], least)


def _check_arguments(given: Mapping[str, Any]) -> None:
    """Raise for a value that cannot be, of the arguments that are not for `generate`."""
    for name in ("question", "context"):
        if given.get(name) is not None:
            arguments.text(f"`{name}`", given[name])
    for name in ("continue_final_message", "sanitize_control_tokens", "skip_special_tokens"):
        if given.get(name) is not None:
            arguments.switch(name, given[name])
    template_kwargs = given.get("chat_template_kwargs")
    if not isinstance(template_kwargs, (Mapping, type(None))):
        raise TypeError(f"`chat_template_kwargs` must be a dict, got {arguments.described(template_kwargs)}.")
    if given.get("answer_from") not in (None, "audio", "transcript"):
        raise ValueError(
            f'`answer_from` must be "audio" or "transcript", got {arguments.described(given["answer_from"])}.'
        )


def _of_one(value: Any) -> Any:
    """The value of a single request, which the base class hands over as a batch of one or by itself."""
    return value[0] if isinstance(value, list) else value


def _pad_rows(rows: list[torch.Tensor], value: float, left: bool = False) -> torch.Tensor:
    """Tensors of shape `(n_i, length_i, ...)` as one of shape `(sum n_i, longest, ...)`."""
    longest = max(row.shape[1] for row in rows)
    padded = rows[0].new_full((sum(row.shape[0] for row in rows), longest, *rows[0].shape[2:]), value)
    start = 0
    for row in rows:
        columns = slice(longest - row.shape[1], longest) if left else slice(0, row.shape[1])
        padded[start : start + row.shape[0], columns] = row
        start += row.shape[0]
    return padded
