"""An AuRA student."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from ...package_data import resolve_student
from ...processing.conversation import build_conversation
from ...processing.mixing import SAMPLING_RATE
from ..items import Task
from .generation import generate_greedily
from .identity import model_identity, software_identity
from .interface import ALL_TASKS, MAX_NEW_TOKENS, Answer, Request, shared


@dataclass
class AuraSystem:
    """An AuRA student.

    Args:
        model: Hub id, folder, or name of a packaged student.
        name: its row in the tables.
        base_model: where its base LLM lies, if not where the student says.
        revision: of a Hub id.
        dtype: `"float32"`, `"bfloat16"`, `"float16"`, or `"auto"`: see [`AuraForSpeechQA.from_pretrained`].
        device: `"cpu"`, `"cuda:0"`, ...
        answer_from: what questions are answered from; `None` = as the student's config says.

    Example:

    ```python
    >>> system = AuraSystem("aura-smollm2-135m")
    >>> system.answer([Request(load_audio("question.wav"), "answer")])
    ```
    """

    model: str
    name: str = "aura"
    base_model: str | None = None
    revision: str | None = None
    dtype: str = "auto"
    device: str = "cpu"
    answer_from: Literal["audio", "transcript"] | None = None
    tasks: frozenset[Task] = ALL_TASKS
    needs_text: bool = False

    @cached_property
    def identity(self) -> dict[str, Any]:
        """See [`System`]. The base is named by what the student's weights were checked against."""
        return {
            "kind": "aura",
            "student": model_identity(resolve_student(self.model), self.revision),
            "base": self.student.config.base_model or "merged",
            "answer_from": self.answer_from or self.student.config.answer_from,
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

    @cached_property
    def pipeline(self) -> Any:
        """The pipeline that answers from transcripts."""
        from ...pipelines.audio_question_answering import AudioQuestionAnsweringPipeline

        return AudioQuestionAnsweringPipeline(self.student, self.processor)

    def answer(self, requests: Sequence[Request]) -> list[Answer]:
        """See [`System`]. Slots, an object that is no text for people, are answered from the audio."""
        task, question = shared(requests)
        if task == "transcript" and question is None:
            question = self.processor.transcription_instruction
        chats = [
            build_conversation({"array": request.waveform, "sampling_rate": SAMPLING_RATE}, question, request.context)
            for request in requests
        ]
        answer_from = self.answer_from or ("audio" if task == "slots" else self.student.config.answer_from)
        if task != "transcript" and answer_from == "transcript":
            results = self.pipeline(
                chats,
                batch_size=len(chats),
                answer_from=answer_from,
                max_new_tokens=MAX_NEW_TOKENS[task],
                do_sample=False,
            )
            return [Answer(result[0]["answer"]) for result in results]
        inputs = self.processor.apply_chat_template(
            chats, tokenize=True, add_generation_prompt=True, return_dict=True, return_tensors="pt", padding=True
        ).to(self.device, self.student.dtype)
        if task == "transcript" and self.student.config.can_transcribe:
            method = "greedy" if self.student.config.character_ctc_alphabet is None else "beam_search"
            transcripts = self.student.transcribe(**inputs, tokenizer=self.processor.tokenizer, method=method)
            return [Answer(transcript.text) for transcript in transcripts]
        tokens, confidences = generate_greedily(
            self.student, inputs, MAX_NEW_TOKENS[task], self.processor.tokenizer.pad_token_id
        )
        texts = self.processor.batch_decode(tokens, skip_special_tokens=True)
        return [Answer(text.strip(), confidence) for text, confidence in zip(texts, confidences, strict=True)]
