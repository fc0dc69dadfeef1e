"""What is timed: a student through its pipeline, and what it is compared with: its LLM alone, and Whisper with the same LLM."""

import importlib.util
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import transformers
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer, WhisperForConditionalGeneration, WhisperProcessor

from benchmarks.results import STUDENT
from benchmarks.without_speech import SAMPLING_RATE
from tools.real_models import real_model_folder
from transformers_aura import AuraForSpeechQA, AuraProcessor, build_conversation
from transformers_aura.modeling.transcripts import Transcript
from transformers_aura.package_data import resolve_student
from transformers_aura.pipelines.audio_question_answering import AudioQuestionAnsweringPipeline


BASE_MODEL = "smollm2-135m-instruct"
WHISPER = "whisper-tiny.en"
FASTER_WHISPER = "faster-whisper-tiny.en"
WINDOW_SECONDS = 30
"""What Whisper hears at once."""
SECONDS_WITHOUT_TIMESTAMPS = 12
"""Longer recordings are written down with timestamps: without them Whisper ends 30 s of several utterances after the first (10 of 72 words)."""
INT8 = "int8"
"""A `dtype`: the linear layers of the LLM quantised dynamically, all else float32."""


@dataclass(frozen=True)
class Systems:
    """
    A student, the LLM that is its base, and Whisper, all in one format, each loaded when it is first used.

    Attributes:
        student: packaged student, folder or Hub id.
        base_model: of the student; folder or Hub id. `None` = the copy of `make real-models`.
        whisper: folder or Hub id. `None` = the copy of `make real-models`.
        dtype: of all weights: a torch format's name, or `"int8"`. Whisper is not quantised, and of the student only its merged form, as LoRA lies beside the weights.
        device: where the weights are.
    """

    student: str = STUDENT
    base_model: str | Path | None = None
    whisper: str | Path | None = None
    dtype: str = "float32"
    device: str = "cpu"

    @cached_property
    def model(self) -> AuraForSpeechQA:
        """The student, its LoRA beside the weights."""
        model = AuraForSpeechQA.from_pretrained(
            self.student_folder, base_model_name_or_path=self.base_model_folder, dtype=self.float_dtype
        )
        return model.to(self.device).eval()

    @cached_property
    def merged_model(self) -> AuraForSpeechQA:
        """The student, its LoRA merged into the weights: on loading, or, to be quantised, as a checkpoint of its own."""
        if self.dtype == INT8:
            merged = self.model.merge()
            return self.quantised(merged, merged.model.language_model)
        model = AuraForSpeechQA.from_pretrained(
            self.student_folder,
            base_model_name_or_path=self.base_model_folder,
            dtype=self.float_dtype,
            merge_lora=True,
        )
        return model.to(self.device).eval()

    @cached_property
    def processor(self) -> AuraProcessor:
        """The student's."""
        return AuraProcessor.from_pretrained(self.student_folder)

    @cached_property
    def pipeline(self) -> AudioQuestionAnsweringPipeline:
        """The student's, unmerged."""
        return AudioQuestionAnsweringPipeline(self.model, self.processor)

    @cached_property
    def merged_pipeline(self) -> AudioQuestionAnsweringPipeline:
        """The student's, merged."""
        return AudioQuestionAnsweringPipeline(self.merged_model, self.processor)

    @cached_property
    def language_model(self) -> Any:
        """The LLM by itself."""
        model = (
            AutoModelForCausalLM.from_pretrained(self.base_model_folder, dtype=self.float_dtype).to(self.device).eval()
        )
        return self.quantised(model, model.model)

    @cached_property
    def tokenizer(self) -> Any:
        """The LLM's, with the chat template of the student."""
        return AutoTokenizer.from_pretrained(self.base_model_folder, chat_template=self.processor.chat_template)

    @cached_property
    def speech_recognizer(self) -> Any:
        """Whisper."""
        model = WhisperForConditionalGeneration.from_pretrained(self.whisper_folder, dtype=self.float_dtype)
        return model.to(self.device).eval()

    @cached_property
    def speech_processor(self) -> Any:
        """Whisper's."""
        return WhisperProcessor.from_pretrained(self.whisper_folder)

    @property
    def float_dtype(self) -> str:
        """The format of what is not quantised."""
        return "float32" if self.dtype == INT8 else self.dtype

    def quantised(self, model: Any, language_model: nn.Module) -> Any:
        """The model, its LLM's linear layers in int8 if `dtype` says so; the output layer, which shares its weights with the embedding, stays."""
        if self.dtype == INT8:
            warnings.filterwarnings("ignore", message=".*quantiz.*", category=UserWarning)
            warnings.filterwarnings("ignore", message=".*torch.ao.quantization.*", category=DeprecationWarning)
            torch.ao.quantization.quantize_dynamic(language_model, {nn.Linear}, dtype=torch.qint8, inplace=True)
        return model

    @property
    def student_folder(self) -> str | Path:
        return resolve_student(self.student)

    @property
    def base_model_folder(self) -> str | Path:
        return real_model_folder(BASE_MODEL) if self.base_model is None else self.base_model

    @property
    def whisper_folder(self) -> str | Path:
        return real_model_folder(WHISPER) if self.whisper is None else self.whisper

    @property
    def can_transcribe(self) -> bool:
        """Whether the student has the heads that a search for its transcripts needs."""
        config = self.model.config
        return config.subword_ctc_layer is not None and config.character_ctc_alphabet is not None

    def first_token(
        self, waveform: np.ndarray, answer_from: Literal["audio", "transcript"] = "audio", merged: bool = False
    ) -> str:
        """The first token of the student's answer to a spoken question."""
        pipeline = self.merged_pipeline if merged else self.pipeline
        request = {"array": waveform, "sampling_rate": SAMPLING_RATE}
        return pipeline(request, answer_from=answer_from, max_new_tokens=1, do_sample=False)[0]["answer"]

    def first_token_of_text(self, text: str) -> str:
        """The first token of what the LLM answers to a text."""
        return self.tokenizer.decode(self.answers_of_texts([text], 1)[0])

    @torch.no_grad()
    def answers_of_texts(self, texts: Sequence[str], tokens: int) -> torch.Tensor:
        """So many tokens, `(texts, tokens)`, of what the LLM answers to each text."""
        inputs = self.tokenizer.apply_chat_template(
            [[{"role": "user", "content": text}] for text in texts],
            add_generation_prompt=True,
            return_dict=True,
            return_tensors="pt",
            padding=True,
            padding_side="left",
        ).to(self.device)
        answers = self.language_model.generate(**inputs, max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False)
        return answers[:, inputs["input_ids"].shape[1] :]

    def first_token_of_cascade(self, waveform: np.ndarray) -> str:
        """The first token of what the LLM answers to Whisper's transcript."""
        return self.first_token_of_text(self.transcript_of_whisper(waveform))

    def first_token_of_faster_whisper(self, waveform: np.ndarray, compute_type: str) -> str:
        """The same, the transcript by faster-whisper."""
        return self.first_token_of_text(self.transcript_of_faster_whisper(waveform, compute_type))

    def embeddings(self, count: int, batch_size: int = 1) -> torch.Tensor:
        """Some of the LLM's token embeddings, `(batch_size, count, hidden)`."""
        weight = self.language_model.get_input_embeddings().weight
        ids = torch.arange(count, device=weight.device) % len(weight)
        return weight.detach()[ids].expand(batch_size, -1, -1)

    @torch.no_grad()
    def answers_of_embeddings(self, embeddings: torch.Tensor, tokens: int = 1) -> torch.Tensor:
        """So many tokens, `(batch, tokens)`, that the LLM makes of embeddings: no system with this LLM that reads as many can be faster."""
        mask = torch.ones(embeddings.shape[:2], dtype=torch.long, device=embeddings.device)
        return self.language_model.generate(
            inputs_embeds=embeddings,
            attention_mask=mask,
            max_new_tokens=tokens,
            min_new_tokens=tokens,
            do_sample=False,
        )

    def inputs(self, waveforms: Sequence[np.ndarray]) -> Any:
        """What the student is given when recordings are its questions."""
        return self.processor.apply_chat_template(
            [build_conversation({"array": waveform, "sampling_rate": SAMPLING_RATE}) for waveform in waveforms],
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            add_generation_prompt=True,
            padding=True,
        ).to(self.device, dtype=getattr(torch, self.float_dtype))

    def prompt_length(self, waveform: np.ndarray) -> int:
        """Tokens that the student reads before it answers directly, audio included."""
        return self.inputs([waveform])["input_ids"].shape[1]

    def num_audio_tokens(self, waveform: np.ndarray) -> int:
        """Those of them that are audio."""
        return int((self.inputs([waveform])["input_ids"] == self.processor.audio_token_id).sum())

    def speech_features(self, waveforms: Sequence[np.ndarray], padded: bool = True) -> torch.Tensor:
        """Whisper's features, `(clips, mel bins, frames)`: of a whole window of 30 s, or as long as the longest clip."""
        extractor = self.speech_processor.feature_extractor
        features = extractor(
            list(waveforms),
            sampling_rate=SAMPLING_RATE,
            return_tensors="pt",
            padding="max_length" if padded else "longest",
            truncation=padded,
        ).input_features
        return features.to(self.device, self.speech_recognizer.dtype)

    def transcripts_of_whisper(self, waveforms: Sequence[np.ndarray]) -> list[str]:
        """Whisper's transcripts of clips of at most 30 s, greedy, in one batch."""
        tokens = self.speech_recognizer.generate(self.speech_features(waveforms), do_sample=False)
        return [text.strip() for text in self.speech_processor.batch_decode(tokens, skip_special_tokens=True)]

    def transcript_of_whisper(self, waveform: np.ndarray) -> str:
        """Whisper's transcript, greedy; of a clip longer than 12 s by timestamps, see [`SECONDS_WITHOUT_TIMESTAMPS`]."""
        if len(waveform) <= SECONDS_WITHOUT_TIMESTAMPS * SAMPLING_RATE:
            return self.transcripts_of_whisper([waveform])[0]
        if len(waveform) <= WINDOW_SECONDS * SAMPLING_RATE:
            tokens = self.speech_recognizer.generate(
                self.speech_features([waveform]), return_timestamps=True, do_sample=False
            )
            return self.speech_processor.decode(tokens[0], skip_special_tokens=True).strip()
        features = self.speech_features([waveform], padded=False)
        mask = torch.ones(features.shape[0], features.shape[2], dtype=torch.long, device=self.device)
        tokens = self.speech_recognizer.generate(
            features, attention_mask=mask, return_timestamps=True, do_sample=False
        )
        return self.speech_processor.decode(tokens[0], skip_special_tokens=True).strip()

    @property
    def has_faster_whisper(self) -> bool:
        """Whether faster-whisper is installed, and runs where the others do."""
        return self.device == "cpu" and importlib.util.find_spec("faster_whisper") is not None

    def faster_whisper(self, compute_type: str) -> Any:
        """Whisper in CTranslate2, by faster-whisper, on as many threads as torch; `compute_type` is `float32` or `int8`."""
        if compute_type not in self._faster_whispers:
            from faster_whisper import WhisperModel

            self._faster_whispers[compute_type] = WhisperModel(
                str(real_model_folder(FASTER_WHISPER)),
                device="cpu",
                compute_type=compute_type,
                cpu_threads=torch.get_num_threads(),
            )
        return self._faster_whispers[compute_type]

    @cached_property
    def _faster_whispers(self) -> dict[str, Any]:
        return {}

    def transcript_of_faster_whisper(self, waveform: np.ndarray, compute_type: str) -> str:
        """Its transcript, greedy, as [`transcript_of_whisper`]."""
        segments, _ = self.faster_whisper(compute_type).transcribe(
            waveform,
            language="en",
            beam_size=1,
            temperature=0,
            without_timestamps=len(waveform) <= SECONDS_WITHOUT_TIMESTAMPS * SAMPLING_RATE,
            condition_on_previous_text=False,
        )
        return " ".join(segment.text.strip() for segment in segments)

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
        (found,) = self.model.transcribe(**self.inputs([waveform]), tokenizer=self.processor.tokenizer, **kwargs)
        return found
