"""What is timed: a student through its pipeline, and what it is compared with, Whisper and the same LLM."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer, WhisperForConditionalGeneration, WhisperProcessor

from benchmarks.without_speech import SAMPLING_RATE
from tools.real_models import real_model_folder
from transformers_aura import AuraForSpeechQA, AuraProcessor, build_conversation
from transformers_aura.modeling.transcription_aura import Transcript
from transformers_aura.package_data import resolve_student
from transformers_aura.pipelines.audio_question_answering import AudioQuestionAnsweringPipeline


STUDENT = "aura-smollm2-135m"
BASE_MODEL = "smollm2-135m-instruct"
WHISPER = "whisper-tiny.en"


@dataclass(frozen=True)
class Systems:
    """
    A student, the LLM that is its base, and Whisper, all in one format, each loaded when it is first used.

    Attributes:
        student: packaged student, folder or Hub id.
        base_model: of the student; folder or Hub id. `None` = the copy of `make real-models`.
        whisper: folder or Hub id. `None` = the copy of `make real-models`.
        dtype: of all weights.
    """

    student: str = STUDENT
    base_model: str | Path | None = None
    whisper: str | Path | None = None
    dtype: str = "float32"

    @cached_property
    def pipeline(self) -> AudioQuestionAnsweringPipeline:
        """The student's."""
        folder = resolve_student(self.student)
        model = AuraForSpeechQA.from_pretrained(
            folder, base_model_name_or_path=self._base_model, dtype=self.dtype
        ).eval()
        return AudioQuestionAnsweringPipeline(model, AuraProcessor.from_pretrained(folder))

    @cached_property
    def language_model(self) -> Any:
        """The LLM by itself."""
        return AutoModelForCausalLM.from_pretrained(self._base_model, dtype=self.dtype).eval()

    @cached_property
    def tokenizer(self) -> Any:
        """The LLM's, with the chat template of the student."""
        return AutoTokenizer.from_pretrained(self._base_model, chat_template=self.pipeline.processor.chat_template)

    @cached_property
    def speech_recognizer(self) -> Any:
        """Whisper."""
        return WhisperForConditionalGeneration.from_pretrained(self._whisper, dtype=self.dtype).eval()

    @cached_property
    def speech_processor(self) -> Any:
        """Whisper's."""
        return WhisperProcessor.from_pretrained(self._whisper)

    @property
    def _base_model(self) -> str | Path:
        return real_model_folder(BASE_MODEL) if self.base_model is None else self.base_model

    @property
    def _whisper(self) -> str | Path:
        return real_model_folder(WHISPER) if self.whisper is None else self.whisper

    @property
    def can_transcribe(self) -> bool:
        """Whether the student has the heads that a search for its transcripts needs."""
        config = self.pipeline.model.config
        return config.subword_ctc_layer is not None and config.character_ctc_alphabet is not None

    def first_token(self, waveform: np.ndarray, answer_from: Literal["audio", "transcript"]) -> str:
        """The first token of the student's answer to a spoken question."""
        request = {"array": waveform, "sampling_rate": SAMPLING_RATE}
        return self.pipeline(request, answer_from=answer_from, max_new_tokens=1, do_sample=False)[0]["answer"]

    def first_token_of_cascade(self, waveform: np.ndarray) -> str:
        """The first token of what the LLM answers to Whisper's transcript."""
        chat = [{"role": "user", "content": self.transcript_of_whisper(waveform)}]
        inputs = self.tokenizer.apply_chat_template(
            chat, add_generation_prompt=True, return_dict=True, return_tensors="pt"
        )
        answer = self.language_model.generate(**inputs, max_new_tokens=1, do_sample=False)
        return self.tokenizer.decode(answer[0, -1])

    @torch.no_grad()
    def first_token_of_embeddings(self, count: int) -> int:
        """The first token that the LLM makes of so many embeddings: no system with this LLM that reads as many can be faster."""
        weight = self.language_model.get_input_embeddings().weight
        embeddings = weight[torch.arange(count) % len(weight)][None]
        mask = torch.ones(1, count, dtype=torch.long)
        answer = self.language_model.generate(
            inputs_embeds=embeddings, attention_mask=mask, max_new_tokens=1, do_sample=False
        )
        return int(answer[0, -1])

    def prompt_length(self, waveform: np.ndarray) -> int:
        """Tokens that the student reads before it answers directly, audio included."""
        return self._inputs(waveform)["input_ids"].shape[1]

    def _inputs(self, waveform: np.ndarray) -> Any:
        return self.pipeline.processor.apply_chat_template(
            build_conversation({"array": waveform, "sampling_rate": SAMPLING_RATE}),
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            add_generation_prompt=True,
        ).to(dtype=self.pipeline.model.dtype)

    def transcript_of_whisper(self, waveform: np.ndarray) -> str:
        """Whisper's transcript of a clip of at most 30 s, greedy."""
        features = self.speech_processor(waveform, sampling_rate=SAMPLING_RATE, return_tensors="pt").input_features
        tokens = self.speech_recognizer.generate(features.to(self.speech_recognizer.dtype), do_sample=False)
        return self.speech_processor.decode(tokens[0], skip_special_tokens=True).strip()

    @cached_property
    def recognition_pipeline(self) -> Any:
        """transformers' pipeline around Whisper."""
        return transformers.pipeline(
            "automatic-speech-recognition",
            model=self.speech_recognizer,
            tokenizer=self.speech_processor.tokenizer,
            feature_extractor=self.speech_processor.feature_extractor,
        )

    def transcript_of_whisper_pipeline(self, waveform: np.ndarray, **kwargs: Any) -> str:
        """A transcript of any length, by transformers' pipeline, greedy."""
        greedy = {"do_sample": False, "num_beams": 1}
        return self.recognition_pipeline(
            {"raw": waveform, "sampling_rate": SAMPLING_RATE}, generate_kwargs=greedy, **kwargs
        )["text"].strip()

    def transcript(self, waveform: np.ndarray, **kwargs: Any) -> Transcript:
        """The student's transcript, as `aura transcribe` makes it; `kwargs` as in `transcribe`."""
        tokenizer = self.pipeline.processor.tokenizer
        (found,) = self.pipeline.model.transcribe(**self._inputs(waveform), tokenizer=tokenizer, **kwargs)
        return found


def set_threads(count: int) -> None:
    """Threads of torch, and less talk from transformers."""
    torch.set_num_threads(count)
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
