"""A recipe's student before its first step, and its processor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from ..modeling.audio_embedding import TEACHER_FRAMES_PER_STEP, KernelConvBlock
from ..modeling.configuration_aura import AuraConfig
from ..modeling.ctc_heads import CharacterCTCHead, SubwordCTCHead
from ..modeling.modeling_aura import AuraForSpeechQA
from ..package_data import resolve_student
from ..processing.audio_loading import load_audio
from ..processing.processing_aura import AuraProcessor
from .attention_kernels import mean_attention_by_distance
from .checkpoint_files import check_contents, is_checkpoint
from .recipe import ModelSection, Recipe, RecipeError
from .recipe_auto import with_alphabet, with_model_values
from .recipe_data import ManifestRows
from .teacher import AuraTeacher


KERNEL_CLIPS = 64
"""Training clips by which the teacher's mean attention is measured."""


def build_student(
    recipe: Recipe, teacher: AuraTeacher | None = None, rows: Sequence[Mapping[str, Any]] = ()
) -> tuple[AuraForSpeechQA, AuraProcessor]:
    """A recipe's student before its first step, and its processor.

    Args:
        recipe ([`Recipe`]): what to train.
        teacher (*optional*): needed where the patch embedding starts from it.
        rows: of the training; their transcripts give an alphabet that is `auto`, and the first of them show how the teacher attends, where kernel blocks
            start from that.
    """
    section = with_alphabet(with_model_values(recipe), rows).model
    if section.student is not None:
        # Without a dtype, what the student is stored in: what is trained does not depend on the processor.
        folder = Path(resolve_student(section.student))
        if is_checkpoint(folder) and folder.is_dir():
            check_contents(folder)
        settings: dict[str, Any] = {
            "dtype": section.dtype or AuraConfig.from_pretrained(resolve_student(section.student)).dtype
        }
        if section.attn_implementation is not None:
            settings["attn_implementation"] = section.attn_implementation
        student = AuraForSpeechQA.from_pretrained(
            section.student, base_model_name_or_path=section.base_model, **settings
        )
        add_heads(student, section)
        return student, build_processor(recipe, student.config)
    student = AuraForSpeechQA.from_language_model_pretrained(section.source, **section.student_settings())
    if section.init_from_teacher and teacher is not None:
        kernels = None
        if student.config.audio_config.conv_blocks and student.config.audio_config.conv_block_type == "kernel":
            kernels = _attention_kernels(teacher, rows)
        student.init_audio_embedding_from_teacher(teacher.encoder, kernels)
    return student, build_processor(recipe, student.config)


def build_processor(recipe: Recipe, config: AuraConfig) -> AuraProcessor:
    """The processor of a recipe's student, which has `config`."""
    section = recipe.model
    words = (
        {}
        if section.transcription_instruction is None
        else {"transcription_instruction": section.transcription_instruction}
    )
    if section.student is not None:
        return AuraProcessor.from_pretrained(section.student, **words)
    return AuraProcessor.from_language_model_pretrained(
        section.source,
        gguf_file=section.gguf_file,
        revision=section.revision,
        num_mel_bins=config.audio_config.num_mel_bins,
        frames_per_token=config.audio_config.frames_per_token,
        chat_template=section.chat_template,
        **words,
    )


def add_heads(student: AuraForSpeechQA, section: ModelSection) -> None:
    """Give a student that a later stage goes on from the CTC heads that the section names and it lacks, and set what it answers from.

    For another alphabet it gets a new character CTC head, in which the characters of both alphabets begin as they were. That is another language, so the
    subword CTC head and the counted text of the old one go, unless the section names that head.

    Raises:
        RecipeError: it has the subword CTC head at another layer, or the settings do not go together.
    """
    config, model = student.config, student.model
    wanted, own = section.subword_ctc_layer, config.subword_ctc_layer
    if None not in (wanted, own) and wanted != own:
        raise RecipeError(
            f"'model.subword_ctc_layer' is {wanted!r}, but the student {section.student} has a head with {own!r}. Leave it out to go on with that head."
        )
    reference = model.embed_audio.norm.weight
    width = config.text_config.hidden_size
    alphabet = section.character_ctc_alphabet
    if alphabet is not None and alphabet != config.character_ctc_alphabet:
        head = CharacterCTCHead(width, alphabet).to(reference)
        if model.character_ctc_head is not None:
            head.copy_characters(model.character_ctc_head)
            student.text_statistics = None
            if wanted is None:
                config.subword_ctc_layer = model.subword_ctc_head = None
        config.character_ctc_alphabet, model.character_ctc_head = alphabet, head
    if wanted is not None and model.subword_ctc_head is None:
        config.subword_ctc_layer = wanted
        model.subword_ctc_head = SubwordCTCHead(width).to(reference)
    if section.answer_from is not None:
        config.answer_from = section.answer_from
    try:
        AuraConfig(**config.to_dict())
    except ValueError as error:
        raise RecipeError(f"'model': {error}") from error


def _attention_kernels(teacher: AuraTeacher, rows: Sequence[Mapping[str, Any]]) -> torch.Tensor:
    clips = islice((row["audio"] for row in rows if row.get("audio") is not None), KERNEL_CLIPS)
    waveforms = [load_audio(clip) for clip in clips]
    if not waveforms:
        raise RecipeError(
            "'model.init_from_teacher': kernel blocks start from how the teacher attends to training clips; "
            "'data.train' holds no row with audio."
        )
    past, future = (
        frames // TEACHER_FRAMES_PER_STEP for frames in (KernelConvBlock.past_frames, KernelConvBlock.future_frames)
    )
    return mean_attention_by_distance(teacher, waveforms, past, future)


def unused_answers(recipe: Recipe, config: AuraConfig, rows: Any, lm_weight: float) -> str | None:
    """A warning, where answers are taught from the audio to a student that answers from its transcript.

    Args:
        recipe: what to train.
        config: of its student.
        rows: of the training. Those of a stream or a dataset are not read for this.
        lm_weight: weight of the next-token cross-entropy, by which answers are taught.
    """
    section = recipe.model
    if section.student is None or section.answer_from is not None or config.answer_from == "audio" or not lm_weight:
        return None
    if not isinstance(rows, ManifestRows) or not any(row["audio"] is not None and row["answer"] for row in rows):
        return None
    return (
        "This student answers from its transcript, and the training rows teach it to answer from the audio. Set `answer_from: audio` in the section `model`, so "
        "that it is asked as it is taught; `answer_from: transcript` keeps it as it is, without this warning."
    )
