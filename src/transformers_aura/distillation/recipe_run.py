"""From a recipe to a trainer that is ready to start."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from transformers import set_seed

from ..hub_access import explained
from ..modeling.audio_embedding import TEACHER_FRAMES_PER_STEP, KernelConvBlock
from ..modeling.configuration_aura import AuraConfig
from ..modeling.ctc_heads import CharacterCTCHead, SubwordCTCHead
from ..modeling.modeling_aura import AuraForSpeechQA
from ..processing.audio_loading import load_audio
from ..processing.processing_aura import AuraProcessor
from .attention_kernels import mean_attention_by_distance
from .augmentation import WaveformAugmentation
from .checkpoint_files import check_contents, is_checkpoint
from .collator import AuraDataCollator
from .objectives import default_objectives
from .preparation import early_end, num_steps
from .recipe import ModelSection, Recipe, RecipeError
from .recipe_auto import with_model_values, with_teacher_padding
from .recipe_data import load_context_texts, load_rows
from .recipe_evaluation import check_best_metric, check_evaluation, early_stopping
from .row_preview import preview_rows
from .teacher import AuraTeacher
from .trainer import AuraTrainer
from .training_args import AuraTrainingArguments


KERNEL_CLIPS = 64
"""Training clips by which the teacher's mean attention is measured."""


def build_trainer(
    recipe: Recipe,
    arguments: AuraTrainingArguments,
    student: tuple[AuraForSpeechQA, AuraProcessor] | None = None,
    **kwargs: Any,
) -> AuraTrainer:
    """
    Load what a recipe names and put it together. The same recipe and seed give the same student, in every process.

    Args:
        recipe ([`Recipe`]): what to train.
        arguments ([`AuraTrainingArguments`]): of that recipe, see `training_arguments`.
        student (*optional*): trained in the place of the recipe's own, with its processor.
        kwargs: further arguments of [`AuraTrainer`] (`callbacks`, ...); `compute_metrics` must compute what `evaluation.metrics` names, as
            `AnswerMetrics` of the evaluation does.

    Raises:
        RecipeError: a data source that is not there, holds no rows, or lacks a column.
    """
    if not recipe.data.train:
        raise RecipeError("'data.train' names no source.")
    check_evaluation(recipe, arguments)
    if recipe.evaluation.metrics and kwargs.get("compute_metrics") is None:
        raise ValueError(
            f"The recipe asks for {', '.join(recipe.evaluation.metrics)} while the student learns: pass `compute_metrics=AnswerMetrics(...)`."
        )
    callbacks = [*early_stopping(recipe, arguments), *(kwargs.pop("callbacks", None) or ())]
    train_rows = load_rows(recipe.data.train, "data.train")
    evaluation_rows = load_rows(recipe.data.evaluation, "data.evaluation")
    recipe = with_teacher_padding(with_model_values(recipe), train_rows)
    context_texts = load_context_texts(recipe.data.context_texts)
    augmentation = None
    if recipe.data.augmentation is not None:
        try:
            augmentation = WaveformAugmentation(**recipe.data.augmentation.settings())
        except (ValueError, OSError) as error:
            raise RecipeError(f"'data.augmentation': {error}") from error
    set_seed(arguments.seed)
    teacher = None
    objectives = default_objectives(arguments)
    teaches = any(objective.needs_teacher for objective in objectives.values())
    if teaches or (student is None and recipe.model.init_from_teacher):
        load_teacher = AuraTeacher.from_random if recipe.teacher.random else AuraTeacher.from_pretrained
        settings = recipe.teacher.teacher_settings()
        with explained(recipe.teacher.model, settings):
            teacher = load_teacher(recipe.teacher.model, **settings)
    if student is None:
        with explained(recipe.model.base_model, recipe.model.student_settings()):
            student = build_student(recipe, teacher, train_rows)
    model, processor = student
    trainer = AuraTrainer(
        model=model,
        teacher=teacher if teaches else None,
        args=arguments,
        train_dataset=train_rows,
        eval_dataset=evaluation_rows if len(evaluation_rows) else None,
        processing_class=processor,
        context_texts=context_texts,
        augmentation=augmentation,
        objectives=objectives,
        callbacks=callbacks,
        **kwargs,
    )
    check_best_metric(recipe, arguments, trainer.forward_pass.figure_names)
    if recipe.model.student is not None and is_checkpoint(recipe.model.student):
        trainer.load_heads(recipe.model.student)
    return trainer


def build_student(
    recipe: Recipe, teacher: AuraTeacher | None = None, rows: Sequence[Mapping[str, Any]] = ()
) -> tuple[AuraForSpeechQA, AuraProcessor]:
    """A recipe's student before its first step, and its processor.

    Args:
        recipe ([`Recipe`]): what to train.
        teacher (*optional*): needed where the patch embedding starts from it.
        rows: of the training; the first of them show how the teacher attends, where kernel blocks start from that.
    """
    section = with_model_values(recipe).model
    if section.student is not None:
        # Without a dtype, what the student is stored in: what is trained does not depend on the processor.
        folder = Path(section.student)
        if is_checkpoint(folder) and folder.is_dir():
            check_contents(folder)
        settings: dict[str, Any] = {"dtype": section.dtype or AuraConfig.from_pretrained(section.student).dtype}
        if section.attn_implementation is not None:
            settings["attn_implementation"] = section.attn_implementation
        student = AuraForSpeechQA.from_pretrained(
            section.student, base_model_name_or_path=section.base_model, **settings
        )
        _add_heads(student, section)
        return student, build_processor(recipe, student.config)
    student = AuraForSpeechQA.from_language_model_pretrained(section.base_model, **section.student_settings())
    if section.init_from_teacher and teacher is not None:
        kernels = None
        if student.config.audio_config.conv_blocks and student.config.audio_config.conv_block_type == "kernel":
            kernels = _attention_kernels(teacher, rows)
        student.init_audio_embedding_from_teacher(teacher.encoder, kernels)
    return student, build_processor(recipe, student.config)


def build_processor(recipe: Recipe, config: AuraConfig) -> AuraProcessor:
    """The processor of a recipe's student, which has `config`."""
    section = recipe.model
    if section.student is not None:
        return AuraProcessor.from_pretrained(section.student)
    return AuraProcessor.from_language_model_pretrained(
        section.base_model,
        gguf_file=section.gguf_file,
        revision=section.revision,
        num_mel_bins=config.audio_config.num_mel_bins,
        frames_per_token=config.audio_config.frames_per_token,
        chat_template=section.chat_template,
    )


def describe_rows(recipe: Recipe, arguments: AuraTrainingArguments, config: AuraConfig) -> Iterator[str]:
    """What the data of a recipe holds, and a few training rows as the model will see them; no weights are loaded.

    Args:
        recipe: what to train.
        arguments: of that recipe.
        config: of its student.

    Raises:
        RecipeError: a source that is not there, holds no rows or lacks a column, or a row that cannot be read.
    """
    rows = load_rows(recipe.data.train, "data.train")
    num_evaluated = len(load_rows(recipe.data.evaluation, "data.evaluation"))
    steps = num_steps(arguments, len(rows))
    yield f"rows to train on: {len(rows)} an epoch, {steps} steps; to evaluate on: {num_evaluated}"
    if (warning := early_end(arguments, steps)) is not None:
        yield f"warning: {warning}"
    with explained(recipe.model.student or recipe.model.base_model, {"revision": recipe.model.revision}):
        processor = build_processor(recipe, config)
    collator = AuraDataCollator(
        processor,
        keep_text_only_rows=config.lora_scope == "always",
        labels_required=any(objective.needs_text for objective in default_objectives(arguments).values()),
        max_length=config.text_config.max_position_embeddings,
    )
    try:
        yield from preview_rows(rows, collator)
    except (ValueError, OSError) as error:
        raise RecipeError(f"'data.train': {error}") from error


def _add_heads(student: AuraForSpeechQA, section: ModelSection) -> None:
    """Give a student that a later stage goes on from the CTC heads that the section names and it lacks, and set what it answers from.

    Raises:
        RecipeError: it has the head with another setting, or the settings do not go together.
    """
    config, model = student.config, student.model
    for name in ("character_ctc_alphabet", "subword_ctc_layer"):
        wanted, own = getattr(section, name), getattr(config, name)
        if None not in (wanted, own) and wanted != own:
            raise RecipeError(
                f"'model.{name}' is {wanted!r}, but the student {section.student} has a head with {own!r}. Leave it out to go on with that head."
            )
    reference = model.embed_audio.norm.weight
    width = config.text_config.hidden_size
    if section.character_ctc_alphabet is not None and model.character_ctc_head is None:
        config.character_ctc_alphabet = section.character_ctc_alphabet
        model.character_ctc_head = CharacterCTCHead(width, section.character_ctc_alphabet).to(reference)
    if section.subword_ctc_layer is not None and model.subword_ctc_head is None:
        config.subword_ctc_layer = section.subword_ctc_layer
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
