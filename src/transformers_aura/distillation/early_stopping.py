"""Trainings that end because nothing gets better."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from transformers import EarlyStoppingCallback, Trainer, TrainerControl, TrainerState

from .training_args import AuraTrainingArguments


class PatientCallback(EarlyStoppingCallback):
    """Stops a training whose evaluations get no better, but for those of the distillation-only steps: no answers are taught there."""

    def on_evaluate(
        self,
        args: AuraTrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, float],
        **kwargs: Any,
    ) -> None:
        if args.supervision != "both" or state.global_step > args.get_distillation_warmup_steps(state.max_steps):
            super().on_evaluate(args, state, control, metrics, **kwargs)


def has_stopped_early(trainer: Trainer) -> bool:
    """Whether a training has ended because its evaluations got no better; also of a run that was resumed, where it keeps the state of its callbacks
    (`restore_callback_states_from_checkpoint`)."""
    return any(
        callback.early_stopping_patience_counter >= callback.early_stopping_patience
        for callback in _callbacks(trainer)
    )


@contextmanager
def patience_kept(trainer: Trainer) -> Iterator[None]:
    """Callbacks whose state is restored meanwhile go on counting where the checkpoint was, with the patience that this run asks for."""
    asked = [(each.early_stopping_patience, each.early_stopping_threshold) for each in _callbacks(trainer)]
    yield
    for callback, (patience, threshold) in zip(_callbacks(trainer), asked, strict=True):
        callback.early_stopping_patience, callback.early_stopping_threshold = patience, threshold


def _callbacks(trainer: Trainer) -> list[EarlyStoppingCallback]:
    return [each for each in trainer.callback_handler.callbacks if isinstance(each, EarlyStoppingCallback)]
