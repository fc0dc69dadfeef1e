"""Any audio LLM that transformers runs itself, by its Hub id: Qwen2-Audio, Qwen2.5-Omni, Voxtral, Granite Speech, Gemma."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ...distillation.augmentation import SAMPLING_RATE
from ...processing.conversation import build_conversation
from ..items import Task
from .generation import generate_greedily
from .identity import model_identity, software_identity
from .interface import ALL_TASKS, MAX_NEW_TOKENS, Answer, Request, shared


@dataclass
class NativeAudioSystem:
    """An audio LLM through `AutoProcessor.apply_chat_template` and `generate`.

    Args:
        model: Hub id or folder.
        name: its row in the tables; the last part of the id without this.
        dtype, device: see [`~transformers_aura.evaluation.AuraSystem`].
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
        chats = [build_conversation(request.waveform, question, request.context) for request in requests]
        inputs = self.processor.apply_chat_template(
            chats,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs={"padding": True, "sampling_rate": SAMPLING_RATE},
        ).to(self.device, self.audio_language_model.dtype)
        tokens, confidences = generate_greedily(self.audio_language_model, inputs, MAX_NEW_TOKENS[task])
        answers = self.processor.batch_decode(tokens, skip_special_tokens=True)
        return [Answer(answer.strip(), confidence) for answer, confidence in zip(answers, confidences, strict=True)]
