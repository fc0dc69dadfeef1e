"""From a recipe to a trainer that is ready to start."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from transformers import set_seed
from transformers.utils import logging

from ..decoding.alphabet import CharacterAlphabet
from ..decoding.spelling import SpellingReport
from ..decoding.text_statistics import TextStatistics
from ..hub_access import explained
from ..modeling.configuration_aura import AuraConfig
from ..modeling.modeling_aura import AuraForSpeechQA
from ..processing.processing_aura import AuraProcessor
from .augmentation import WaveformAugmentation
from .checkpoint_files import is_checkpoint
from .collator import AuraDataCollator
from .launching import check_shards
from .objectives import default_objectives
from .preparation import early_end, num_steps
from .recipe import Recipe, RecipeError
from .recipe_auto import transcripts_of, with_model_values, with_teacher_padding
from .recipe_data import check_rows, load_context_texts, load_rows
from .recipe_evaluation import check_best_metric, check_evaluation, early_stopping
from .recipe_student import build_processor, build_student, unused_answers
from .row_preview import NUM_ROWS, preview_rows
from .second_teacher import SecondTeacher
from .streams.mixture import StreamedRows
from .streams.sources import load_stream
from .teacher import AuraTeacher
from .trainer import AuraTrainer
from .training_args import AuraTrainingArguments
from .waveform_teacher import WaveformTeacher
from .zero import check_zero


logger = logging.get_logger(__name__)


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
    check_zero(arguments, arguments.zero)
    check_shards(arguments, arguments.sharding)
    check_evaluation(recipe, arguments)
    if recipe.evaluation.metrics and kwargs.get("compute_metrics") is None:
        raise ValueError(
            f"The recipe asks for {', '.join(recipe.evaluation.metrics)} while the student learns: pass `compute_metrics=AnswerMetrics(...)`."
        )
    callbacks = [*early_stopping(recipe, arguments), *(kwargs.pop("callbacks", None) or ())]
    train_rows = load_training_rows(recipe, arguments)
    evaluation_rows = load_rows(recipe.data.evaluation, "data.evaluation")
    _check_rows(arguments, train_rows, evaluation_rows)
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
    second_teacher = load_second_teacher(recipe)
    if student is None:
        with explained(recipe.model.source, recipe.model.student_settings()):
            student = build_student(recipe, teacher, train_rows)
    model, processor = student
    if (warning := unused_answers(recipe, model.config, train_rows, arguments.lm_weight)) is not None:
        logger.warning(warning)
    if model.model.character_ctc_head is not None and model.text_statistics is None:
        model.text_statistics = _text_statistics(model.config, processor, transcripts_of(train_rows))
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
        second_teacher=second_teacher,
        callbacks=callbacks,
        **kwargs,
    )
    check_best_metric(recipe, arguments, trainer.forward_pass.figure_names)
    if recipe.model.student is not None and is_checkpoint(recipe.model.student):
        trainer.load_heads(recipe.model.student)
    return trainer


def load_second_teacher(recipe: Recipe) -> SecondTeacher | None:
    """The second teacher of a recipe, if it names one.

    Raises:
        RecipeError: its section is wrong, or the model is of another kind.
    """
    section = recipe.second_teacher
    if section is None:
        return None
    settings: dict[str, Any] = {} if section.dtype is None else {"dtype": section.dtype}
    try:
        with explained(section.model, {"revision": section.revision}):
            teacher = WaveformTeacher.from_pretrained(section.model, revision=section.revision, **settings)
        return SecondTeacher(teacher, section.parsed_layers, section.weight)
    except ValueError as error:
        raise RecipeError(f"'second_teacher': {error}") from error


def load_training_rows(recipe: Recipe, arguments: AuraTrainingArguments) -> Any:
    """The rows of `data.train`: in memory or in any order ([`load_rows`]), or a stream ([`load_stream`]).

    Raises:
        RecipeError: a source that is not there, holds no rows, or lacks a column; settings that a stream cannot have.
    """
    if not recipe.data.stream:
        return load_rows(recipe.data.train, "data.train")
    if arguments.max_steps <= 0:
        raise RecipeError("'data.stream': the length of a stream is not known. Set training.max_steps.")
    if arguments.train_sampling_strategy != "random":
        raise RecipeError(
            f"'training.train_sampling_strategy' is {arguments.train_sampling_strategy}, but a stream is shuffled in its own way: leave it out."
        )
    return load_stream(recipe.data, arguments.seed if arguments.data_seed is None else arguments.data_seed)


def _check_rows(arguments: AuraTrainingArguments, train_rows: Any, evaluation_rows: Any) -> None:
    needs_text = any(objective.needs_text for objective in default_objectives(arguments).values())
    check_rows(train_rows, "data.train", needs_text)
    check_rows(evaluation_rows, "data.evaluation", needs_text)


def describe_size(rows: Any) -> str:
    """How many rows there are to train on, in words."""
    if not isinstance(rows, StreamedRows):
        return f"{len(rows)} an epoch"
    sources = [f"{source.name} in {len(source.shards)} shard(s)" for source in rows.sources]
    return f"a stream of {', '.join(sources)}"


def load_rows_to_show(recipe: Recipe, arguments: AuraTrainingArguments) -> Any:
    """As [`load_training_rows`], but of a stream no more is read than [`describe_rows`] shows."""
    few = dataclasses.replace(recipe.data, shuffle_buffer=min(recipe.data.shuffle_buffer, NUM_ROWS))
    return load_training_rows(dataclasses.replace(recipe, data=few), arguments)


def describe_rows(recipe: Recipe, arguments: AuraTrainingArguments, config: AuraConfig, rows: Any) -> Iterator[str]:
    """What the data of a recipe holds, and a few training rows as the model will see them; no weights are loaded.

    Args:
        recipe: what to train.
        arguments: of that recipe.
        config: of its student.
        rows: of the training.

    Raises:
        RecipeError: a source that is not there, holds no rows or lacks a column, or a row that cannot be read.
    """
    evaluation_rows = load_rows(recipe.data.evaluation, "data.evaluation")
    _check_rows(arguments, rows, evaluation_rows)
    steps = arguments.max_steps if isinstance(rows, StreamedRows) else num_steps(arguments, len(rows))
    yield f"rows to train on: {describe_size(rows)}, {steps} steps; to evaluate on: {len(evaluation_rows)}"
    if (warning := early_end(arguments, steps)) is not None:
        yield f"warning: {warning}"
    if (warning := unused_answers(recipe, config, rows, arguments.lm_weight)) is not None:
        yield f"warning: {warning}"
    yield from describe_spelling(config, rows)
    with explained(recipe.model.source, {"revision": recipe.model.revision}):
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


def describe_spelling(config: AuraConfig, rows: Any) -> Iterator[str]:
    """What the alphabet of a student makes of the training transcripts, a line each; nothing for a student without a character CTC head.

    Args:
        config: of the student.
        rows: of the training.
    """
    transcripts = transcripts_of(rows)
    if config.character_ctc_alphabet is not None and transcripts:
        yield from SpellingReport.of_texts(transcripts, CharacterAlphabet(config.character_ctc_alphabet)).lines()


def _text_statistics(config: AuraConfig, processor: AuraProcessor, texts: Sequence[str]) -> TextStatistics | None:
    """The words and tokens of the training transcripts: a search that knows none would take the LLM's own vocabulary for the words of the language."""
    if not texts:
        return None
    tokenizer = processor.tokenizer
    return TextStatistics.count(
        texts,
        tokenizer(list(texts), add_special_tokens=False).input_ids,
        CharacterAlphabet(config.character_ctc_alphabet or ""),
        config.text_config.vocab_size,
        tokenizer.eos_token_id,
    )
