"""An AuRA student."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ...package_data import resolve_student
from ...processing.conversation import build_conversation
from ...processing.mixing import SAMPLING_RATE
from ..items import Task
from .generation import generate_greedily
from .identity import model_identity, software_identity
from .interface import ALL_TASKS, MAX_NEW_TOKENS, Answer, Request, shared


@dataclass
class AuraSystem:
    """A student that hears.

    Args:
        model: Hub id, folder, or name of a packaged student.
        name: its row in the tables.
        base_model: where its base LLM lies, if not where the student says.
        dtype: `"float32"`, `"bfloat16"`, `"float16"`, or `"auto"`: see [`AuraForSpeechQA.from_pretrained`].
        device: `"cpu"`, `"cuda:0"`, ...
    """

    model: str
    name: str = "aura"
    base_model: str | None = None
    revision: str | None = None
    dtype: str = "auto"
    device: str = "cpu"
    tasks: frozenset[Task] = ALL_TASKS
    needs_text: bool = False

    @cached_property
    def identity(self) -> dict[str, Any]:
        """See [`System`]. The base is named by what the student's weights were checked against."""
        return {
            "kind": "aura",
            "student": model_identity(resolve_student(self.model), self.revision),
            "base": self.student.config.base_model or "merged",
            "base_fingerprint": self.student.config.base_fingerprint,
            **software_identity(str(self.student.dtype).removeprefix("torch."), self.device),
        }

    @cached_property
    def student(self) -> Any:
        """The [`~transformers_aura.AuraForSpeechQA`] on its base."""
        from ...modeling.modeling_aura import AuraForSpeechQA

        found = AuraForSpeechQA.from_pretrained(
            self.model,
            base_model_name_or_path=self.base_model,
            revision=self.revision,
            dtype=self.dtype,
            device_map=self.device,
        )
        return found.eval()

    @cached_property
    def processor(self) -> Any:
        """Its [`~transformers_aura.AuraProcessor`]."""
        from ...processing.processing_aura import AuraProcessor

        return AuraProcessor.from_pretrained(resolve_student(self.model), revision=self.revision)

    def answer(self, requests: Sequence[Request]) -> list[Answer]:
        """See [`System`]."""
        task, question = shared(requests)
        chats = [
            build_conversation({"array": request.waveform, "sampling_rate": SAMPLING_RATE}, question, request.context)
            for request in requests
        ]
        inputs = self.processor.apply_chat_template(
            chats, tokenize=True, add_generation_prompt=True, return_dict=True, return_tensors="pt", padding=True
        ).to(self.device, self.student.dtype)
        pad_token_id = self.processor.tokenizer.pad_token_id
        limit = MAX_NEW_TOKENS[task]
        if task == "transcript" and self.student.config.subword_ctc_layer is not None:
            # As `generate` and the pipeline write one, which do not say how sure they are.
            tokens = self.student.generate(**inputs, max_new_tokens=limit, pad_token_id=pad_token_id)
            tokens, confidences = tokens[:, inputs["input_ids"].shape[1] :], [None] * len(requests)
        else:
            tokens, confidences = generate_greedily(self.student, inputs, limit, pad_token_id)
        texts = self.processor.batch_decode(tokens, skip_special_tokens=True)
        return [Answer(text.strip(), confidence) for text, confidence in zip(texts, confidences, strict=True)]
