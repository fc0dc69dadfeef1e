"""A tiny student, teacher and data set for the tests of the training room."""

from pathlib import Path
from typing import Any

from transformers import WhisperConfig

from tests.support.tiny import tone
from tests.support.tiny_models import tiny_student
from transformers_aura.distillation.teacher import AuraTeacher
from transformers_aura.distillation.trainer import AuraTrainer
from transformers_aura.distillation.training_args import AuraTrainingArguments
from transformers_aura.modeling.modeling_aura import AuraForSpeechQA
from transformers_aura.processing.processing_aura import AuraProcessor


def tiny_whisper_config(max_source_positions: int = 1500, num_mel_bins: int = 80) -> WhisperConfig:
    return WhisperConfig(
        vocab_size=64,
        num_mel_bins=num_mel_bins,
        d_model=16,
        encoder_layers=3,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        max_source_positions=max_source_positions,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
    )


def tiny_teacher(**kwargs: Any) -> AuraTeacher:
    """A random teacher with windows of 2 s."""
    return AuraTeacher.from_random(tiny_whisper_config(max_source_positions=100), **kwargs)


def audio(seconds: float, hertz: float = 300.0) -> dict[str, Any]:
    return {"array": tone(seconds, hertz), "sampling_rate": 16000}


def tiny_rows(count: int = 8) -> list[dict[str, Any]]:
    """Rows of all kinds with audio, of different lengths: transcription, spoken question, audio + text question."""
    rows = []
    for index in range(count):
        row = {"audio": audio(0.3 + 0.17 * (index % 5), 200 + 40 * index), "transcript": "hear " * (1 + index % 3)}
        if index % 3:
            row["answer"] = "yes" if index % 2 else "no, never"
        if index % 3 == 2:
            row["question"] = "Is it so?"
        rows.append(row)
    return rows


def tiny_trainer(
    folder: Path, output: str = "run", student: dict[str, Any] | AuraForSpeechQA | None = None, **settings: Any
) -> AuraTrainer:
    """A trainer on [`tiny_rows`], of `student` or of a new one with such settings; `settings` are arguments of the trainer or of
    [`AuraTrainingArguments`]."""
    base = folder / "base"
    trainer_settings = {
        name: settings.pop(name)
        for name in ("teacher", "data_collator", "train_dataset", "eval_dataset", "callbacks", "context_texts")
        if name in settings
    }
    model = student if isinstance(student, AuraForSpeechQA) else tiny_student(base, **(student or {}))
    values = {
        "per_device_train_batch_size": 4,
        "per_device_eval_batch_size": 4,
        "max_steps": 4,
        "logging_steps": 1,
        "save_strategy": "no",
        "disable_tqdm": True,
        "report_to": "none",
        "use_cpu": True,
        "learning_rate": 1e-3,
        **settings,
    }
    trainer_settings = {"teacher": tiny_teacher(), "train_dataset": tiny_rows(), **trainer_settings}
    return AuraTrainer(
        model=model,
        args=AuraTrainingArguments(str(folder / output), **values),
        processing_class=AuraProcessor.from_language_model_pretrained(
            base, frames_per_token=model.config.audio_config.frames_per_token
        ),
        **trainer_settings,
    )
