"""Settings of a recipe that say `auto`: what the base LLM, the teacher and the rows make of them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from transformers import AutoConfig, WhisperConfig

from ..decoding.alphabet import alphabet_of
from ..hub_access import explained
from ..modeling.configuration_aura import AuraConfig
from ..package_data import resolve_student
from .recipe import Recipe, RecipeError
from .teacher import STATES_PER_SECOND


PADDING_STEP_SECONDS = 5.0
"""`pad_to_seconds: auto` is a multiple of this."""

SHARE_OF_CLIPS = 0.9
"""So many of the training clips are no longer than `pad_to_seconds: auto`."""


def load_teacher_config(recipe: Recipe) -> WhisperConfig:
    """The configuration of a recipe's teacher; no weights are loaded."""
    with explained(recipe.teacher.model, {"revision": recipe.teacher.revision}):
        return AutoConfig.from_pretrained(recipe.teacher.model, revision=recipe.teacher.revision)


def with_model_values(recipe: Recipe, teacher_config: WhisperConfig | None = None) -> Recipe:
    """The recipe with a number for each `auto` of its section `model`; itself where there is none.

    Args:
        recipe: as it was read.
        teacher_config (*optional*): of its teacher; read from where the recipe names it, if it is needed.

    Returns:
        `num_mel_bins` and `conv_width` are those of the teacher; `lora_num_layers` is left to the library: two thirds of the base LLM's layers.

    Raises:
        RecipeError: the teacher is no Whisper.
    """
    of_teacher = {"num_mel_bins": "num_mel_bins", "conv_width": "d_model"}
    values: dict[str, Any] = {} if recipe.model.lora_num_layers != "auto" else {"lora_num_layers": None}
    asked = [name for name in of_teacher if getattr(recipe.model, name) == "auto"]
    if asked:
        config = load_teacher_config(recipe) if teacher_config is None else teacher_config
        try:
            values |= {name: getattr(config, of_teacher[name]) for name in asked}
        except AttributeError as error:
            raise RecipeError(
                f"'model.{asked[0]}' is auto, which takes it from the teacher, but {recipe.teacher.model} is a {config.model_type}, no Whisper."
            ) from error
    return dataclasses.replace(recipe, model=dataclasses.replace(recipe.model, **values)) if values else recipe


def with_alphabet(recipe: Recipe, rows: Any) -> Recipe:
    """The recipe with the characters of the training transcripts for `model.character_ctc_alphabet: auto`, see [`~decoding.alphabet.alphabet_of`]; a student
    to go on from keeps the alphabet that it has where that spells all of them.

    Args:
        recipe: as it was read.
        rows: of the training, see [`transcripts_of`].

    Raises:
        RecipeError: no row has a transcript.
    """
    if recipe.model.character_ctc_alphabet != "auto":
        return recipe
    student = recipe.model.student
    own = None if student is None else AuraConfig.from_pretrained(resolve_student(student)).character_ctc_alphabet
    try:
        alphabet = alphabet_of(transcripts_of(rows))
    except ValueError as error:
        raise RecipeError(
            "'model.character_ctc_alphabet' is auto, which takes it from the training transcripts, but 'data.train' has none that are known before the training. "
            "Write the characters down, a space first."
        ) from error
    if own is not None and set(alphabet) <= set(own):
        alphabet = own
    return dataclasses.replace(recipe, model=dataclasses.replace(recipe.model, character_ctc_alphabet=alphabet))


def transcripts_of(rows: Any) -> Sequence[str]:
    """The transcripts of training rows; none where these are not known before the rows are read, as of a stream."""
    return getattr(rows, "transcripts", None) or ()


def with_teacher_padding(recipe: Recipe, rows: Any, teacher_config: WhisperConfig | None = None) -> Recipe:
    """The recipe with a number for `teacher.pad_to_seconds: auto`: the shortest multiple of 5 s that nine of ten training clips fit into, so that the encoder
    computes little silence; the teacher's whole window (30 s) where it is not known how long the clips are (sources without a column `seconds`).

    Args:
        recipe: as it was read.
        rows: of the training, with `seconds` where these are known.
        teacher_config (*optional*): of its teacher; read from where the recipe names it, if it is needed.
    """
    if recipe.teacher.pad_to_seconds != "auto":
        return recipe
    padding = None
    lengths = sorted(getattr(rows, "seconds", None) or ())
    if lengths:
        config = load_teacher_config(recipe) if teacher_config is None else teacher_config
        enough = lengths[math.ceil(SHARE_OF_CLIPS * len(lengths)) - 1]
        padding = max(math.ceil(enough / PADDING_STEP_SECONDS), 1) * PADDING_STEP_SECONDS
        padding = None if padding >= config.max_source_positions / STATES_PER_SECOND else padding
    return dataclasses.replace(recipe, teacher=dataclasses.replace(recipe.teacher, pad_to_seconds=padding))
