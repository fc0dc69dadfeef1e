"""Trainings that end because nothing gets better."""

from __future__ import annotations

from transformers import EarlyStoppingCallback, Trainer


def has_stopped_early(trainer: Trainer) -> bool:
    """Whether a training has ended because its evaluations got no better; also of a run that was resumed, where it keeps the state of its callbacks
    (`restore_callback_states_from_checkpoint`)."""
    return any(
        callback.early_stopping_patience_counter >= callback.early_stopping_patience
        for callback in trainer.callback_handler.callbacks
        if isinstance(callback, EarlyStoppingCallback)
    )
