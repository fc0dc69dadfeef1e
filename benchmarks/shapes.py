"""Sizes of models without their weights: those of the student at hand, and those of the paper's, on Qwen2.5-7B beside Whisper-large-v3."""

import copy
from dataclasses import dataclass
from functools import cached_property
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from transformers import (
    AutoModelForCausalLM,
    Qwen2Config,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
)

from benchmarks.systems import SAMPLING_RATE, WINDOW_SECONDS, Systems
from transformers_aura import AuraConfig, AuraForSpeechQA, AuraProcessor
from transformers_aura.package_data import resolve_student


TRANSCRIPT_TOKENS_PER_SECOND = 3.5
"""Of speech, about."""
WHISPER_TINY_EN = {
    "d_model": 384,
    "encoder_layers": 4,
    "encoder_attention_heads": 6,
    "encoder_ffn_dim": 1536,
    "vocab_size": 51864,
}
WHISPER_LARGE_V3 = {
    "d_model": 1280,
    "encoder_layers": 32,
    "encoder_attention_heads": 20,
    "encoder_ffn_dim": 5120,
    "num_mel_bins": 128,
    "vocab_size": 51866,
}
QWEN_2_5_7B = {
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "vocab_size": 152064,
    "max_position_embeddings": 32768,
    "tie_word_embeddings": False,
}
LLAMA_3_70B = {
    "hidden_size": 8192,
    "intermediate_size": 28672,
    "num_hidden_layers": 80,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
    "tie_word_embeddings": False,
}


@dataclass(frozen=True)
class Shapes:
    """
    A student and the Whisper that it is compared with.

    Attributes:
        name: for tables.
        student: its config.
        whisper: its config.
    """

    name: str
    student: AuraConfig
    whisper: WhisperConfig


def whisper_config(sizes: dict[str, int]) -> WhisperConfig:
    """Whisper of these sizes; its decoder is as large as its encoder."""
    decoder = {f"decoder_{name[8:]}": size for name, size in sizes.items() if name.startswith("encoder_")}
    return WhisperConfig(**sizes, **decoder)


def of_student(student: str) -> Shapes:
    """A packaged student, folder or Hub id, beside Whisper tiny.en."""
    config = AuraConfig.from_pretrained(resolve_student(student))
    return Shapes(student, config, whisper_config(WHISPER_TINY_EN))


def qwen_7b(student: str) -> Shapes:
    """The paper's LLM beside Whisper-large-v3: the patch embedding laid out as that of a student, as wide as that Whisper; LoRA as large in proportion."""
    config = AuraConfig.from_pretrained(resolve_student(student))
    text_config = Qwen2Config(**QWEN_2_5_7B)
    audio = {
        **config.audio_config.to_dict(),
        "conv_width": WHISPER_LARGE_V3["d_model"],
        "num_mel_bins": WHISPER_LARGE_V3["num_mel_bins"],
    }
    share = text_config.num_hidden_layers / config.text_config.num_hidden_layers
    large = AuraConfig(
        text_config=text_config,
        audio_config=audio,
        audio_token_id=config.audio_token_id,
        lora_rank=round(config.lora_rank * text_config.hidden_size / config.text_config.hidden_size),
        lora_num_layers=round(config.lora_num_layers * share),
    )
    return Shapes("Qwen2.5-7B", large, whisper_config(WHISPER_LARGE_V3))


@dataclass(frozen=True)
class RandomSystems(Systems):
    """[`Systems`] of some shapes with random weights: they are as fast, and say nothing of sense.

    The LLM alone is that of the merged student, so that a GPU holds its weights once. Whisper's transcripts have as many tokens as speech of that length has.

    Attributes:
        shapes: sizes of all models; tokenizer and chat template are those of `student`.
    """

    shapes: Shapes | None = None

    @property
    def sizes(self) -> Shapes:
        """The shapes."""
        assert self.shapes is not None
        return self.shapes

    @property
    def can_transcribe(self) -> bool:
        """Random heads find no words."""
        return False

    @property
    def has_faster_whisper(self) -> bool:
        """There are no random weights for it."""
        return False

    @cached_property
    def merged_model(self) -> AuraForSpeechQA:
        config = AuraConfig(
            text_config=self.sizes.student.text_config,
            audio_config=self.sizes.student.audio_config,
            audio_token_id=self.sizes.student.audio_token_id,
            lora_rank=0,
        )
        return self._made(AuraForSpeechQA, config)

    @cached_property
    def processor(self) -> AuraProcessor:
        processor = AuraProcessor.from_pretrained(self.student_folder)
        settings = {**processor.feature_extractor.to_dict(), "feature_size": self.sizes.whisper.num_mel_bins}
        processor.feature_extractor = type(processor.feature_extractor).from_dict(settings)
        return processor

    @cached_property
    def language_model(self) -> Any:
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(self.sizes.student.text_config)
        model.model, model.lm_head = self.merged_model.model.language_model, self.merged_model.lm_head
        return model.eval()

    @cached_property
    def speech_recognizer(self) -> Any:
        return self._made(WhisperForConditionalGeneration, self.sizes.whisper)

    @cached_property
    def speech_processor(self) -> Any:
        return SimpleNamespace(feature_extractor=WhisperFeatureExtractor(self.sizes.whisper.num_mel_bins))

    @torch.no_grad()
    def first_token_of_cascade(self, waveform: np.ndarray) -> str:
        samples = WINDOW_SECONDS * SAMPLING_RATE
        words = 0
        for start in range(0, len(waveform), samples):
            window = waveform[start : start + samples]
            tokens = max(1, round(TRANSCRIPT_TOKENS_PER_SECOND * len(window) / SAMPLING_RATE))
            features = self.speech_features([window])
            self.speech_recognizer.generate(features, max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False)
            words += tokens
        text = self.prompt_length(waveform) - self.num_audio_tokens(waveform)
        return str(int(self.answers_of_embeddings(self.embeddings(text + words))[0, -1]))

    def _made(self, model_class: Any, config: Any) -> Any:
        with torch.device(self.device):
            return model_class._from_config(copy.deepcopy(config), dtype=getattr(torch, self.float_dtype)).eval()
