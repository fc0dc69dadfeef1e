"""Any audio LLM that transformers runs itself, by its Hub id: Qwen2-Audio, Qwen2.5-Omni, Voxtral, Granite Speech, Gemma."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import soundfile
from jinja2 import TemplateError

from ...processing.conversation import TRANSCRIPTION_INSTRUCTION, Conversation, build_conversation
from ...processing.mixing import SAMPLING_RATE
from ...repo_files import refuse_pickles
from ..items import Task
from .generation import generate_greedily
from .identity import model_identity, software_identity
from .interface import ALL_TASKS, MAX_NEW_TOKENS, Answer, Request, shared


@dataclass
class NativeAudioSystem:
    """An audio LLM through `AutoProcessor` and `generate`.

    Most processors take chats of parts. Granite Speech's takes the audio token within a text, Mistral's (Voxtral) takes files.

    Args:
        model: Hub id or folder.
        name: its row in the tables; the last part of the id without this.
        revision: of a Hub id.
        dtype, device: see [`AuraSystem`].

    Example:

    ```python
    >>> system = NativeAudioSystem("Qwen/Qwen2-Audio-7B-Instruct", dtype="bfloat16", device="cuda:0")
    ```
    """

    model: str
    name: str = ""
    revision: str | None = None
    dtype: str = "auto"
    device: str = "cpu"
    tasks: frozenset[Task] = ALL_TASKS
    needs_text: bool = False

    def __post_init__(self) -> None:
        self.name = self.name or self.model.rstrip("/").rpartition("/")[2]

    @cached_property
    def identity(self) -> dict[str, Any]:
        """See [`System`]."""
        weights = model_identity(self.model, self.revision)
        return {"kind": "native", **weights, **software_identity(self.dtype, self.device)}

    @cached_property
    def audio_language_model(self) -> Any:
        """The stock model; of Qwen2.5-Omni the part that writes."""
        from transformers import AutoModelForMultimodalLM

        refuse_pickles(self.model, revision=self.revision)
        loaded = AutoModelForMultimodalLM.from_pretrained(self.model, revision=self.revision, dtype=self.dtype)
        writes = getattr(loaded, "thinker", loaded)
        return writes.to(self.device).eval()

    @cached_property
    def processor(self) -> Any:
        """Its processor, padding on the left."""
        from transformers import AutoProcessor

        processor = AutoProcessor.from_pretrained(self.model, revision=self.revision)
        processor.tokenizer.padding_side = "left"
        return processor

    def answer(self, requests: Sequence[Request]) -> list[Answer]:
        """See [`System`]."""
        task, question = shared(requests)
        if task == "transcript" and question is None:
            question = TRANSCRIPTION_INSTRUCTION
        chats = [build_conversation(request.waveform, question, request.context) for request in requests]
        inputs = self._inputs(chats).to(self.device, self.audio_language_model.dtype)
        tokens, confidences = generate_greedily(self.audio_language_model, inputs, MAX_NEW_TOKENS[task])
        answers = self.processor.batch_decode(tokens, skip_special_tokens=True)
        return [Answer(answer.strip(), confidence) for answer, confidence in zip(answers, confidences, strict=True)]

    def _inputs(self, chats: list[Conversation]) -> Any:
        """What the model takes, by the way that its processor knows."""
        settings = {"padding": True, "sampling_rate": SAMPLING_RATE}
        if not self._takes_parts:
            written = [_as_strings(chat, self.processor.audio_token) for chat in chats]
            texts = self.processor.apply_chat_template(written, add_generation_prompt=True, tokenize=False)
            waveforms = [part["audio"] for chat in chats for part in _parts(chat) if part["type"] == "audio"]
            return self.processor(text=texts, audio=waveforms, return_tensors="pt", **settings)
        if type(self.processor.tokenizer).__name__ == "MistralCommonBackend":
            chats = [_as_files(chat) for chat in chats]
        return self.processor.apply_chat_template(
            chats,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs=settings,
        )

    @cached_property
    def _takes_parts(self) -> bool:
        """Whether the chat template knows messages of parts; that of Granite Speech knows strings that hold the audio token."""
        audio_token = getattr(self.processor, "audio_token", None)
        if audio_token is None or getattr(self.processor, "chat_template", None) is None:
            return True  # Mistral's, which is no template
        probe = build_conversation(np.zeros(SAMPLING_RATE, np.float32), "Who?")
        try:
            (text,) = self.processor.apply_chat_template([probe], tokenize=False)
        except (TypeError, TemplateError):
            return False
        return audio_token in text


def _parts(chat: Conversation) -> list[dict[str, Any]]:
    return [part for message in chat for part in message["content"]]


def _as_strings(chat: Conversation, audio_token: str) -> Conversation:
    """Messages whose content is one string, the audio token in the place of the audio."""
    return [
        {
            **message,
            "content": "\n".join(
                audio_token if part["type"] == "audio" else part["text"] for part in message["content"]
            ),
        }
        for message in chat
    ]


def _as_files(chat: Conversation) -> Conversation:
    """The same chat with WAV files, base64, in the place of samples: what Mistral's tokenizers read."""
    return [
        {
            **message,
            "content": [
                {"type": "audio", "base64": _wav(part["audio"])} if part["type"] == "audio" else part
                for part in message["content"]
            ],
        }
        for message in chat
    ]


def _wav(waveform: np.ndarray) -> str:
    file = io.BytesIO()
    soundfile.write(file, waveform, SAMPLING_RATE, format="WAV", subtype="FLOAT")
    return base64.b64encode(file.getvalue()).decode()
