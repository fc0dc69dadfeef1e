"""A tiny student, teacher and data set for the tests of the training room."""

from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback, WhisperConfig

from tests.support.tiny import tone
from tests.support.tiny_models import save_tiny_language_model, tiny_student
from transformers_aura.decoding.alphabet import LATIN_ALPHABET
from transformers_aura.distillation.teacher import AuraTeacher
from transformers_aura.distillation.trainer import AuraTrainer
from transformers_aura.distillation.training_args import AuraTrainingArguments
from transformers_aura.modeling.modeling_aura import AuraForSpeechQA
from transformers_aura.processing.processing_aura import AuraProcessor


HEADS = {"character_ctc_alphabet": LATIN_ALPHABET, "subword_ctc_layer": 1}
"""Settings of a tiny student that has both CTC heads."""

HEAD_WEIGHTS = {"character_ctc_weight": 0.5, "subword_ctc_weight": 0.5, "text_state_weight": 0.5}
"""Training arguments that train them."""


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
        row = {"audio": audio(0.3 + 0.17 * (index % 5), 200 + 40 * index), "transcript": "hi " * (1 + index % 3)}
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
        for name in (
            "teacher",
            "data_collator",
            "train_dataset",
            "eval_dataset",
            "callbacks",
            "context_texts",
            "objectives",
            "compute_metrics",
            "second_teacher",
        )
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


def tiny_trainer_of(folder: Path, family: str, **settings: Any) -> AuraTrainer:
    """[`tiny_trainer`] on a base LLM of `family`."""
    save_tiny_language_model(folder / "base", family)
    return tiny_trainer(folder, **settings)


class StopAfter(TrainerCallback):
    """Ends a training after a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        control.should_training_stop = state.global_step == self.step


def trained_weights(trainer: AuraTrainer) -> dict[str, torch.Tensor]:
    """Copies of all that is trained."""
    weights = {name: p.detach().clone() for name, p in trainer.model.named_parameters() if p.requires_grad}
    if trainer.heads is not None:
        weights |= {f"heads.{name}": tensor.clone() for name, tensor in trainer.heads.state_dict().items()}
    return weights


def step_logs(trainer: AuraTrainer, *names: str) -> list[list[float]]:
    """The loss and these figures of every log."""
    logs = [entry for entry in trainer.state.log_history if "loss" in entry]
    return [[entry[name] for name in ("loss", *names)] for entry in logs]


def assert_same_weights(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor], **tolerance: float) -> None:
    """The same names and values; to the bit without a tolerance."""
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        if tolerance:
            torch.testing.assert_close(
                tensor, second[name], msg=lambda text, name=name: f"{name}: {text}", **tolerance
            )
        else:
            assert torch.equal(tensor, second[name]), name
