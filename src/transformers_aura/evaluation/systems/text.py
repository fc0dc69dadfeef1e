"""Systems whose LLM gets text: the gold transcript (the ceiling), or Whisper's transcript (the cascade)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch

from ...processing.conversation import build_conversation
from ...processing.mixing import SAMPLING_RATE
from ...repo_files import refuse_pickles
from ..generations import input_hash
from ..items import Task
from .generation import generate_greedily
from .identity import model_identity, software_identity
from .interface import ALL_TASKS, MAX_NEW_TOKENS, Answer, Request, shared


WHISPER_WINDOW_SECONDS = 30


@dataclass
class TextLanguageModel:
    """An LLM on text: greedy replies to single user messages through its own chat template.

    Args:
        model: Hub id or folder.
        revision: of a Hub id.
        gguf_file: where the weights are of that format.
        dtype, device: see [`AuraSystem`].

    Example:

    ```python
    >>> reader = TextLanguageModel("HuggingFaceTB/SmolLM2-135M-Instruct")
    ```
    """

    model: str
    revision: str | None = None
    gguf_file: str | None = None
    dtype: str = "auto"
    device: str = "cpu"

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Its weights, and what runs them."""
        found = {**model_identity(self.model, self.revision), **software_identity(self.dtype, self.device)}
        return found if self.gguf_file is None else {**found, "gguf_file": self.gguf_file}

    @cached_property
    def language_model(self) -> Any:
        """The stock causal LLM."""
        from transformers import AutoModelForCausalLM

        if self.gguf_file is None:
            refuse_pickles(self.model, revision=self.revision)
        loaded = AutoModelForCausalLM.from_pretrained(
            self.model, revision=self.revision, gguf_file=self.gguf_file, dtype=self.dtype
        )
        return loaded.to(self.device).eval()

    @cached_property
    def tokenizer(self) -> Any:
        """Its tokenizer, padding on the left."""
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(
            self.model, revision=self.revision, gguf_file=self.gguf_file, padding_side="left"
        )
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        return tokenizer

    def reply(self, texts: Sequence[str], requests: Sequence[Request]) -> list[Answer]:
        """Replies to the chats that a student gets, with texts in the place of the recordings.

        Args:
            texts: what is said in each recording.
            requests: that want the same.

        Returns:
            one answer a request, in their order.
        """
        task, question = shared(requests)
        chats = [_as_text(text, question, request.context) for text, request in zip(texts, requests, strict=True)]
        inputs = self.tokenizer.apply_chat_template(
            chats, add_generation_prompt=True, padding=True, return_dict=True, return_tensors="pt"
        ).to(self.device)
        tokens, confidences = generate_greedily(
            self.language_model, inputs, MAX_NEW_TOKENS[task], self.tokenizer.pad_token_id
        )
        replies = self.tokenizer.batch_decode(tokens, skip_special_tokens=True)
        return [Answer(reply.strip(), confidence) for reply, confidence in zip(replies, confidences, strict=True)]


def _as_text(said: str, question: str | None, context: str | None) -> list[dict[str, str]]:
    """The student's chat with what is said in the place of the audio."""
    parts = build_conversation(question=question or said, context=context)[0]["content"]
    texts = [part["text"] for part in parts]
    if question is not None:
        texts.insert(len(texts) - 1, said)
    return [{"role": "user", "content": "\n".join(text for text in texts if text)}]


@dataclass
class GoldText:
    """The LLM on the gold transcript: what no system on the recording can be expected to beat.

    Args:
        reader: the LLM.

    Example:

    ```python
    >>> gold = GoldText(TextLanguageModel("HuggingFaceTB/SmolLM2-135M-Instruct"))
    ```
    """

    reader: TextLanguageModel
    name: str = "gold"
    tasks: frozenset[Task] = frozenset(["answer", "slots", "translation"])
    needs_text: bool = True

    @property
    def identity(self) -> dict[str, Any]:
        """See [`System`]."""
        return {"kind": "gold", "language_model": self.reader.identity}

    def answer(self, requests: Sequence[Request]) -> list[Answer]:
        """See [`System`].

        Raises:
            ValueError: what is said is not known of a request.
        """
        texts = [request.text for request in requests if request.text is not None]
        if len(texts) < len(requests):
            raise ValueError(
                f"What is said is not known of {len(requests) - len(texts)} items, so the LLM cannot be asked about it."
            )
        return self.reader.reply(texts, requests)


@dataclass
class Transcriber:
    """Whisper, greedily; longer recordings by its own long-form decoding. It remembers its transcripts during a run.

    Args:
        model: Hub id or folder of a Whisper-family model.
        revision: of a Hub id.
        dtype, device: see [`AuraSystem`].
        language: what is spoken, for multilingual models.

    Example:

    ```python
    >>> Transcriber("openai/whisper-tiny.en").transcribe([load_audio("order.flac")])
    ['A small latte, please.']
    ```
    """

    model: str
    revision: str | None = None
    dtype: str = "float32"
    device: str = "cpu"
    language: str = "en"
    _transcripts: dict[str, str] = field(default_factory=dict, repr=False)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Its weights, and what runs them."""
        weights = model_identity(self.model, self.revision)
        return {**weights, "language": self.language, **software_identity(self.dtype, self.device)}

    @cached_property
    def whisper(self) -> Any:
        """The stock model."""
        from transformers import WhisperForConditionalGeneration

        refuse_pickles(self.model, revision=self.revision)
        loaded = WhisperForConditionalGeneration.from_pretrained(self.model, revision=self.revision, dtype=self.dtype)
        return loaded.to(self.device).eval()

    @cached_property
    def processor(self) -> Any:
        """Its processor."""
        from transformers import WhisperProcessor

        return WhisperProcessor.from_pretrained(self.model, revision=self.revision)

    def transcribe(self, waveforms: Sequence[np.ndarray]) -> list[str]:
        """Transcripts of recordings.

        Args:
            waveforms: each float32 `(n_samples,)` at 16 kHz.

        Returns:
            one text a recording, in their order.
        """
        names = [input_hash(waveform) for waveform in waveforms]
        new = {name: wave for name, wave in zip(names, waveforms, strict=True) if name not in self._transcripts}
        longest = WHISPER_WINDOW_SECONDS * SAMPLING_RATE
        short = {name: waveform for name, waveform in new.items() if len(waveform) <= longest}
        if short:
            self._transcripts.update(zip(short, self._generate(list(short.values())), strict=True))
        for name in new.keys() - short.keys():
            self._transcripts[name] = self._generate([new[name]], return_timestamps=True)[0]
        return [self._transcripts[name] for name in names]

    @torch.inference_mode()
    def _generate(self, waveforms: list[np.ndarray], **settings: Any) -> list[str]:
        long_form = {"truncation": False, "padding": "longest", "return_attention_mask": True} if settings else {}
        inputs = self.processor(waveforms, sampling_rate=SAMPLING_RATE, return_tensors="pt", **long_form)
        inputs = inputs.to(self.device, self.whisper.dtype)
        if self.whisper.generation_config.is_multilingual:
            settings |= {"language": self.language.split("-")[0], "task": "transcribe"}
        if not long_form:
            settings |= {"max_new_tokens": MAX_NEW_TOKENS["transcript"]}
        tokens = self.whisper.generate(**inputs, do_sample=False, num_beams=1, **settings)
        return [text.strip() for text in self.processor.batch_decode(tokens, skip_special_tokens=True)]


@dataclass
class Cascade:
    """Whisper, then the LLM with the transcript in the place of the audio. Asked to transcribe, it gives Whisper's transcript.

    Args:
        transcriber: writes the recordings down.
        reader: the LLM.

    Example:

    ```python
    >>> whisper = Transcriber("openai/whisper-tiny.en")
    >>> cascade = Cascade(whisper, TextLanguageModel("HuggingFaceTB/SmolLM2-135M-Instruct"))
    ```
    """

    transcriber: Transcriber
    reader: TextLanguageModel
    name: str = "cascade"
    tasks: frozenset[Task] = ALL_TASKS
    needs_text: bool = False

    @property
    def identity(self) -> dict[str, Any]:
        """See [`System`]."""
        return {"kind": "cascade", "whisper": self.transcriber.identity, "language_model": self.reader.identity}

    def answer(self, requests: Sequence[Request]) -> list[Answer]:
        """See [`System`]."""
        transcripts = self.transcriber.transcribe([request.waveform for request in requests])
        if requests[0].task == "transcript":
            return [Answer(transcript) for transcript in transcripts]
        return self.reader.reply(transcripts, requests)
