"""The systems that are measured; their interface is in `interface.py`."""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from student.measure.generations import GenerationFile, input_hash
from student.measure.interface import Kind, Request
from student.recordings import SAMPLING_RATE
from student.texts import orders
from tools.packages import sha256_of
from transformers_aura.processing.conversation import TRANSCRIPTION_INSTRUCTION


MAX_NEW_TOKENS = 128
"""Of every generation: six slots as JSON take about 100 tokens."""

SPELLED = {"8": "eight", "12": "twelve", "16": "sixteen", "20": "twenty"}
"""The numbers that an order may hold."""

# What a model's generations depend on, besides its code.
_IDENTITY_FILES = ("model.safetensors", "config.json", "processor_config.json", "preprocessor_config.json",
                   "tokenizer.json", "chat_template.jinja", "generation_config.json")  # fmt: skip


@lru_cache
def folder_identity(folder: Path, dtype: torch.dtype) -> dict[str, Any]:
    """Hash of a model folder's weights and settings, its dtype and the software that runs it.

    Raises:
        FileNotFoundError: the folder holds no `model.safetensors`.
    """
    if not (folder / "model.safetensors").is_file():
        raise FileNotFoundError(f"{folder} holds no model.safetensors: is it the folder of a saved model?")
    files = {name: sha256_of(folder / name) for name in _IDENTITY_FILES if (folder / name).is_file()}
    return {
        "weights": files["model.safetensors"],
        "files": hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest(),
        "dtype": str(dtype).removeprefix("torch."),
        "max_new_tokens": MAX_NEW_TOKENS,
        "software": {name: version(name) for name in ("torch", "transformers")},
    }


def identity_hash(identity: dict[str, Any]) -> str:
    """The first 12 hexadecimal digits of an identity's sha256."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12]


@dataclass
class Student:
    """The student, through its pipeline: audio alone, "Transcribe the audio." or a written question about it."""

    folder: Path
    base_model: Path
    dtype: torch.dtype = torch.float32
    name: str = field(default="aura", init=False)
    kinds: frozenset[Kind] = field(default=frozenset(["order", "answer", "transcript"]), init=False)

    @cached_property
    def identity(self) -> dict[str, Any]:
        base = folder_identity(self.base_model, self.dtype)
        return {**folder_identity(self.folder, self.dtype), "base_weights": base["weights"]}

    @cached_property
    def model(self) -> Any:
        """The [`~transformers_aura.AuraForSpeechQA`] on its base."""
        from transformers_aura import AuraForSpeechQA

        student = AuraForSpeechQA.from_pretrained(
            self.folder, base_model_name_or_path=self.base_model, dtype=self.dtype
        )
        return student.eval()

    @cached_property
    def processor(self) -> Any:
        from transformers_aura import AuraProcessor

        return AuraProcessor.from_pretrained(self.folder)

    @cached_property
    def _pipeline(self) -> Any:
        from transformers import pipeline

        return pipeline("audio-question-answering", model=self.model, processor=self.processor)

    def answer(self, requests: Sequence[Request]) -> list[str]:
        inputs = [
            {"audio": {"array": request.samples, "sampling_rate": SAMPLING_RATE}, "question": request.question}
            for request in requests
        ]
        outputs = self._pipeline(
            inputs, batch_size=len(inputs), max_new_tokens=MAX_NEW_TOKENS, do_sample=False, num_beams=1
        )
        return [output[0]["answer"] for output in outputs]


@dataclass
class LanguageModel:
    """The base LLM, reading: greedy replies to single user messages through its own chat template."""

    folder: Path
    dtype: torch.dtype = torch.float32

    @cached_property
    def identity(self) -> dict[str, Any]:
        return folder_identity(self.folder, self.dtype)

    @cached_property
    def model(self) -> Any:
        from transformers import AutoModelForCausalLM

        return AutoModelForCausalLM.from_pretrained(self.folder, dtype=self.dtype).eval()

    @cached_property
    def tokenizer(self) -> Any:
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(self.folder, padding_side="left")

    @torch.inference_mode()
    def reply(self, messages: Sequence[str]) -> list[str]:
        chats = [[{"role": "user", "content": message}] for message in messages]
        inputs = self.tokenizer.apply_chat_template(
            chats, add_generation_prompt=True, padding=True, return_dict=True, return_tensors="pt"
        )
        tokens = self.model.generate(**inputs, max_new_tokens=MAX_NEW_TOKENS, do_sample=False, num_beams=1)
        replies = self.tokenizer.batch_decode(tokens[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        return [reply.strip() for reply in replies]


@dataclass
class Transcriber:
    """Whisper. What it heard once it remembers, in a file under `generations`, so that several systems may ask for it."""

    folder: Path
    generations: Path
    dtype: torch.dtype = torch.float32

    @cached_property
    def identity(self) -> dict[str, Any]:
        return folder_identity(self.folder, self.dtype)

    @cached_property
    def _file(self) -> GenerationFile:
        return GenerationFile(self.generations / f"whisper-{identity_hash(self.identity)}" / "transcripts.jsonl")

    @cached_property
    def _model(self) -> Any:
        from transformers import WhisperForConditionalGeneration

        return WhisperForConditionalGeneration.from_pretrained(self.folder, dtype=self.dtype).eval()

    @cached_property
    def _processor(self) -> Any:
        from transformers import WhisperProcessor

        return WhisperProcessor.from_pretrained(self.folder)

    def transcribe(self, recordings: Sequence[np.ndarray]) -> list[str]:
        """Greedy transcripts of recordings (float32 `(n_samples,)`, 16 kHz, at most 30 s each).

        Raises:
            ValueError: a recording is longer than Whisper's window.
        """
        names = [input_hash(samples) for samples in recordings]
        new = {name: samples for name, samples in zip(names, recordings, strict=True) if name not in self._file}
        if new:
            for name, text in zip(new, self._transcribe(list(new.values())), strict=True):
                self._file.append(name, name, text)
        return [self._file.answer(name, name) for name in names]

    @torch.inference_mode()
    def _transcribe(self, recordings: list[np.ndarray]) -> list[str]:
        longest = max(map(len, recordings)) / SAMPLING_RATE
        if longest > 30:
            raise ValueError(f"Whisper hears 30 s at once; a recording lasts {longest:.1f} s.")
        inputs = self._processor(recordings, sampling_rate=SAMPLING_RATE, return_tensors="pt")
        language = {"language": "en", "task": "transcribe"} if self._model.generation_config.is_multilingual else {}
        tokens = self._model.generate(
            inputs.input_features.to(self.dtype),
            do_sample=False, num_beams=1, max_new_tokens=MAX_NEW_TOKENS, **language,
        )  # fmt: skip
        return [text.strip() for text in self._processor.batch_decode(tokens, skip_special_tokens=True)]


@dataclass
class Cascade:
    """Whisper, then the LLM with the transcript in the place of the audio. Asked to transcribe, it gives Whisper's transcript."""

    transcriber: Transcriber
    language_model: LanguageModel
    name: str = field(default="cascade", init=False)
    kinds: frozenset[Kind] = field(default=frozenset(["order", "answer", "transcript"]), init=False)

    @property
    def identity(self) -> dict[str, Any]:
        return {"whisper": self.transcriber.identity, "language_model": self.language_model.identity}

    def answer(self, requests: Sequence[Request]) -> list[str]:
        answers = self.transcriber.transcribe([request.samples for request in requests])
        asked = [index for index, item in enumerate(requests) if item.question != TRANSCRIPTION_INSTRUCTION]
        if asked:
            # As in the student's chat: what is heard, a new line, the question.
            messages = ["\n".join(filter(None, (answers[index], requests[index].question))) for index in asked]
            for index, reply in zip(asked, self.language_model.reply(messages), strict=True):
                answers[index] = reply
        return answers


@dataclass
class Parser:
    """Whisper, then the strict grammar of orders. What is not an order of the grammar stays the transcript, and counts as wrong.

    Sizes that Whisper writes in digits are spelled out first, as the grammar has them: `"12-ounce"` is no mishearing.
    """

    transcriber: Transcriber
    name: str = field(default="parser", init=False)
    kinds: frozenset[Kind] = field(default=frozenset(["order"]), init=False)

    @cached_property
    def _grammar(self) -> orders.OrderGrammar:
        return orders.OrderGrammar()

    @property
    def identity(self) -> dict[str, Any]:
        sources = [Path(orders.__file__), orders.GRAMMAR]
        return {
            "whisper": self.transcriber.identity,
            "grammar": [sha256_of(path) for path in sources],
            "spelled": SPELLED,
        }

    def answer(self, requests: Sequence[Request]) -> list[str]:
        return [self._parse(text) for text in self.transcriber.transcribe([request.samples for request in requests])]

    def _parse(self, transcript: str) -> str:
        spelled_out = re.sub(r"\d+", lambda match: SPELLED.get(match[0], match[0]), transcript)
        slots = self._grammar.parse(spelled_out)
        return transcript if slots is None else json.dumps(slots)


@dataclass
class GoldText:
    """The LLM, reading what is really said."""

    language_model: LanguageModel
    name: str = field(default="gold", init=False)
    kinds: frozenset[Kind] = field(default=frozenset(["answer"]), init=False)

    @property
    def identity(self) -> dict[str, Any]:
        return {"language_model": self.language_model.identity}

    def answer(self, requests: Sequence[Request]) -> list[str]:
        unknown = [number for number, request in enumerate(requests) if request.text is None]
        if unknown:
            raise ValueError(f"The true texts of requests {unknown} are not known, so they cannot be read.")
        return self.language_model.reply(
            ["\n".join(filter(None, (request.text, request.question))) for request in requests]
        )
