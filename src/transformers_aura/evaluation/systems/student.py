"""An AuRA student, through its own pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ...distillation.augmentation import SAMPLING_RATE
from ...package_data import resolve_student
from ..items import Task
from .identity import model_identity, software_identity
from .interface import ALL_TASKS, MAX_NEW_TOKENS, Request, shared


@dataclass
class AuraSystem:
    """A student that hears.

    Args:
        model: Hub id, folder, or name of a packaged student.
        name: its row in the tables.
        base_model: where its base LLM lies, if not where the student says.
        dtype: `"float32"`, `"bfloat16"`, `"float16"` or `"auto"`.
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
            **software_identity(self.dtype, self.device),
        }

    @cached_property
    def student(self) -> Any:
        """The [`~transformers_aura.AuraForSpeechQA`] on its base."""
        from ...modeling.modeling_aura import AuraForSpeechQA

        found = AuraForSpeechQA.from_pretrained(
            self.model, base_model_name_or_path=self.base_model, revision=self.revision, dtype=self.dtype
        )
        return found.to(self.device).eval()

    @cached_property
    def processor(self) -> Any:
        """Its [`~transformers_aura.AuraProcessor`]."""
        from ...processing.processing_aura import AuraProcessor

        return AuraProcessor.from_pretrained(resolve_student(self.model), revision=self.revision)

    @cached_property
    def _pipeline(self) -> Any:
        from transformers import pipeline

        from ...registration import register

        register()
        return pipeline("audio-question-answering", model=self.student, processor=self.processor)

    def answer(self, requests: Sequence[Request]) -> list[str]:
        """See [`System`]."""
        task, question = shared(requests)
        inputs = [
            {
                "audio": {"array": request.waveform, "sampling_rate": SAMPLING_RATE},
                "question": question,
                "context": request.context,
            }
            for request in requests
        ]
        outputs = self._pipeline(
            inputs, batch_size=len(inputs), max_new_tokens=MAX_NEW_TOKENS[task], do_sample=False, num_beams=1
        )
        return [output[0]["answer"] for output in outputs]
