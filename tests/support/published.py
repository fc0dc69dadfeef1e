"""A tiny student on the fake Hub, its base model in a repo of its own: what a reader of a model card starts from."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import (
    BatchFeature,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    set_seed,
)

from transformers_aura import AuraForSpeechQA, AuraProcessor
from transformers_aura.hub import save_model_card

from .fake_hub import FakeHub
from .tiny import tone
from .tiny_models import randomise_adapter, save_tiny_language_model


BASE_ID = "org/tiny-qwen2"
STUDENT_ID = "org/aura-qwen7b"  # tiny, whatever its name says

STUDENT_SETTINGS = {"lora_rank": 4, "lora_num_layers": 2, "conv_width": 24, "tokens_per_block": 4}


@dataclass
class PublishedStudent:
    """
    Attributes:
        model, processor: as they were before anything was published.
        folder: the student's own files.
        base_commit, commit: heads of the two repos.
    """

    model: AuraForSpeechQA
    processor: AuraProcessor
    folder: Path
    base_commit: str
    commit: str


def publish_base(hub: FakeHub, folder: Path, seed: int = 0) -> str:
    """A tiny language model as `BASE_ID`. Returns the commit."""
    save_tiny_language_model(folder, seed=seed)
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n\nA tiny base model.\n")
    return hub.add_folder(BASE_ID, folder)


def save_student(folder: Path, **settings: Any) -> tuple[AuraForSpeechQA, AuraProcessor]:
    """A student of `BASE_ID`, saved in `folder` with processor and card; `settings` are further ones of its config."""
    model = AuraForSpeechQA.from_language_model_pretrained(BASE_ID, **STUDENT_SETTINGS, **settings)
    randomise_adapter(model)
    processor = AuraProcessor.from_language_model_pretrained(BASE_ID)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    save_model_card(folder, repo_id=STUDENT_ID)
    return model, processor


def publish_student(hub: FakeHub, tmp_path: Path) -> PublishedStudent:
    """Base and student on the Hub."""
    base_commit = publish_base(hub, tmp_path / "base")
    folder = tmp_path / "student"
    model, processor = save_student(folder)
    commit = hub.add_folder(STUDENT_ID, folder)
    return PublishedStudent(model, processor, folder, base_commit, commit)


def spoken_inputs(processor: AuraProcessor) -> BatchFeature:
    """A batch of two rows, one with audio and one without."""
    messages = [
        [{"role": "user", "content": [{"type": "audio", "audio": tone(0.7), "sampling_rate": 16000}]}],
        [{"role": "user", "content": "the"}],
    ]
    return processor.apply_chat_template(
        messages, tokenize=True, return_dict=True, return_tensors="pt", add_generation_prompt=True
    )


@torch.no_grad()
def logits_of(model: AuraForSpeechQA, processor: AuraProcessor) -> torch.Tensor:
    """Logits of [`spoken_inputs`], of shape `(2, sequence, vocabulary)`."""
    return model(**spoken_inputs(processor)).logits


def save_tiny_whisper(folder: Path, width: int = 24) -> Path:
    """A random Whisper, by default as wide as the tiny student's convolutions, as an ordinary folder."""
    set_seed(0)
    config = WhisperConfig(
        vocab_size=64,
        num_mel_bins=80,
        d_model=width,
        encoder_layers=2,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=4 * width,
        decoder_ffn_dim=32,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
    )
    WhisperForConditionalGeneration(config).save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=80).save_pretrained(folder)
    return folder
