"""What a recipe measures of the student while it learns, and when that ends the training."""

from __future__ import annotations

import difflib

from transformers import IntervalStrategy, TrainerCallback

from .early_stopping import PatientCallback
from .recipe import Recipe, RecipeError
from .training_args import AuraTrainingArguments


def check_evaluation(recipe: Recipe, arguments: AuraTrainingArguments) -> None:
    """That what the section `evaluation` asks for can be had with the rest of the recipe.

    Raises:
        RecipeError: it cannot.
    """
    section = recipe.evaluation
    for name in ("metrics", "early_stopping_patience"):
        if not getattr(section, name):
            continue
        if not recipe.data.evaluation:
            raise RecipeError(f"'evaluation.{name}' needs rows to evaluate on, but 'data.evaluation' names no source.")
        if arguments.eval_strategy == IntervalStrategy.NO:
            raise RecipeError(
                f"'evaluation.{name}' needs evaluations: set 'training.eval_strategy' to steps (with 'eval_steps') or epoch."
            )
    patience = section.early_stopping_patience
    if patience is None:
        return
    if patience < 1:
        raise RecipeError(f"'evaluation.early_stopping_patience' must be at least 1, but is {patience}.")
    if arguments.metric_for_best_model is None:
        raise RecipeError(
            "'evaluation.early_stopping_patience' needs to know what should get better: set 'training.metric_for_best_model', for instance to eval_wer."
        )


def early_stopping(recipe: Recipe, arguments: AuraTrainingArguments) -> list[TrainerCallback]:
    """What ends a training in which nothing gets better; a run that is resumed goes on counting where its checkpoint was."""
    if recipe.evaluation.early_stopping_patience is None:
        return []
    arguments.restore_callback_states_from_checkpoint = True
    return [PatientCallback(recipe.evaluation.early_stopping_patience)]


def check_best_metric(recipe: Recipe, arguments: AuraTrainingArguments, losses: tuple[str, ...]) -> None:
    """That `metric_for_best_model` is the name of a figure of the evaluation, before the first of them comes.

    Args:
        losses: figures of the objectives.

    Raises:
        RecipeError: it is not.
    """
    if arguments.metric_for_best_model is None or arguments.eval_strategy == IntervalStrategy.NO:
        return
    known = [f"eval_{name}" for name in ("loss", *losses, *recipe.evaluation.metrics)]
    name = f"eval_{arguments.metric_for_best_model.removeprefix('eval_')}"
    if name in known:
        return
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]}?" if close else "scores such as eval_wer must stand in 'evaluation.metrics', too."
    raise RecipeError(
        f"'training.metric_for_best_model' is {arguments.metric_for_best_model}, which no evaluation of this recipe gives; {hint} It gives {', '.join(known)}."
    )
