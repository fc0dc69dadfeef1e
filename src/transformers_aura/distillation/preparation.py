"""What a training run checks and makes before its first step."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from accelerate.utils import model_has_dtensor
from transformers.utils import logging

from ..modeling.modeling_aura import AuraForSpeechQA
from ..processing.processing_aura import AuraProcessor
from .alignment import LayerMapping, map_layers
from .examples import ColumnMaker
from .heads import DistillationHeads
from .learning_rates import learning_rates, part_of
from .objectives import Objective
from .second_teacher import SecondTeacher
from .teacher import AuraTeacher, Teacher
from .training_args import AuraTrainingArguments


logger = logging.get_logger(__name__)


HEAD_SETTINGS = {
    "character_ctc_head": ("character_ctc_weight", "character_ctc_alphabet"),
    "subword_ctc_head": ("subword_ctc_weight", "subword_ctc_layer"),
}
"""For each CTC head the argument that trains it, and the setting of the student that makes it."""


def columns_of(objectives: Iterable[Objective]) -> list[ColumnMaker]:
    """What makes the columns of these objectives, each once."""
    return list(dict.fromkeys(column for objective in objectives for column in objective.columns))


def distillation_heads(
    model: AuraForSpeechQA, teacher: AuraTeacher | None, args: AuraTrainingArguments
) -> DistillationHeads:
    """A head for each layer pair of student and teacher.

    Raises:
        ValueError: there is no teacher, or it and the student do not go together.
    """
    if teacher is None:
        raise ValueError(
            f"`supervision={args.supervision!r}` needs a `teacher`, for instance "
            "`AuraTeacher.from_pretrained('openai/whisper-large-v3')`. Without one, use `supervision='transcript'`."
        )
    return heads_of_pairs(model, teacher, args.parsed_layer_mapping, args)


def second_distillation_heads(
    model: AuraForSpeechQA, second_teacher: SecondTeacher | None, args: AuraTrainingArguments
) -> DistillationHeads | None:
    """A head for each layer pair of student and second teacher, if there is one.

    Raises:
        ValueError: it and the student, or it and the supervision, do not go together.
    """
    if second_teacher is None:
        return None
    if args.supervision == "transcript":
        raise ValueError(
            "`supervision='transcript'` is without a teacher, so it cannot have a `second_teacher`. Use `supervision='both'`; `cosine_weight` and "
            "`mse_weight` of 0 leave the first teacher out."
        )
    return heads_of_pairs(model, second_teacher.teacher, second_teacher.layers, args)


def heads_of_pairs(
    model: AuraForSpeechQA, teacher: Teacher, layers: LayerMapping, args: AuraTrainingArguments
) -> DistillationHeads:
    """A head for each layer pair of the student and a teacher.

    Raises:
        ValueError: their clocks or layers do not go together.
    """
    config = model.config
    if config.audio_config.frames_per_second != 100 or config.audio_config.sampling_rate != 16000:
        raise ValueError(
            f"A teacher takes 100 frames a second at 16000 Hz, the student {config.audio_config.frames_per_second:g} at "
            f"{config.audio_config.sampling_rate} Hz: their clocks do not align."
        )
    pairs = map_layers(
        layers,
        num_student_layers=config.lora_num_layers,
        num_teacher_layers=teacher.num_layers,
        num_decoder_layers=config.text_config.num_hidden_layers,
    )
    return DistillationHeads(
        pairs, config.text_config.hidden_size, teacher.width, args.teacher_normalization, seed=args.seed
    )


def freeze_what_rests(model: AuraForSpeechQA, objectives: Iterable[Objective], args: AuraTrainingArguments) -> None:
    """Freeze what has a learning rate of 0, and the CTC heads that no objective trains.

    Raises:
        ValueError: such a head has never been trained.
    """
    rates = learning_rates(args)
    for name, parameter in model.named_parameters():
        if rates[part_of(name)] == 0:
            parameter.requires_grad_(False)
    trained = {objective.trained_head for objective in objectives} if rates["heads"] else set()
    heads = {"character_ctc_head": model.model.character_ctc_head, "subword_ctc_head": model.model.subword_ctc_head}
    resting = {name: head for name, head in heads.items() if head is not None and name not in trained}
    for name, head in resting.items():
        if bool(head.norm.weight.eq(1).all()):  # as it is made; whatever trains it moves the gains of its norm
            weight, setting = HEAD_SETTINGS[name]
            raise ValueError(
                f"The student's {name} has never been trained, and no objective of this run trains it: its transcripts would be made up. Set "
                f"`{weight}` above 0 (and a learning rate for the heads), or leave `{setting}` out of the student."
            )
        head.requires_grad_(False)
    if resting:
        logger.warning(
            f"No objective of this run trains the student's {' and '.join(resting)}: kept as they are, while the states that they read change. "
            "Set `character_ctc_weight` and `subword_ctc_weight` above 0 to train them on."
        )


def num_steps(args: AuraTrainingArguments, num_rows: int) -> int:
    """Optimisation steps of a training on so many rows an epoch."""
    if args.max_steps > 0:
        return args.max_steps
    batches = -(-num_rows // (args.train_batch_size * args.world_size))
    return math.ceil(args.num_train_epochs * max(-(-batches // args.gradient_accumulation_steps), 1))


def early_end(args: AuraTrainingArguments, max_steps: int) -> str | None:
    """A warning, where a training of so many steps ends before anything that needs the LLM's head is learnt."""
    warmup_steps = args.get_distillation_warmup_steps(max_steps)
    if args.supervision != "both" or not 0 < max_steps <= warmup_steps:
        return None
    return (
        f"All {max_steps} steps of this training lie within the {warmup_steps} distillation-only ones (`distillation_warmup_steps`): the student "
        "learns no answers. Train for longer, or set `distillation_warmup_steps` lower."
    )


def without_text_only_rows(dataset: Any) -> Any:
    """Leave text-only rows out where that needs no decoding; the collator leaves out the others."""
    if not isinstance(dataset, (list, tuple)):
        return dataset
    kept = [row for row in dataset if row.get("audio") is not None]
    if len(kept) == len(dataset):
        return dataset  # it may know more than a list does
    logger.warning(
        f"{len(dataset) - len(kept)} of {len(dataset)} rows are text only and are skipped: where LoRA follows the audio "
        "(`lora_scope` 'rows' or 'audio') the student's text path is the base LLM and such rows have no gradient. They "
        "teach only with `lora_scope='always'`."
    )
    return kept


def check_compatible(model: AuraForSpeechQA, processor: AuraProcessor, args: AuraTrainingArguments) -> None:
    """Raise where student, processor and arguments do not belong together."""
    if model_has_dtensor(model):
        raise ValueError(
            "The student's weights are in shards already: it was loaded so (`tp_plan`, `distributed_config`), or another trainer with `fsdp` had it. Load it "
            "whole; `fsdp=True` shards it."
        )
    rates = learning_rates(args)
    if not any(parameter.requires_grad and rates[part_of(name)] > 0 for name, parameter in model.named_parameters()):
        raise ValueError(
            "The student has no trainable parameters: it is frozen, a merged checkpoint without LoRA, or its learning rates are 0."
        )
    processor.check_belongs_to(model.config.audio_config.to_dict(), model.config.audio_token_id)
