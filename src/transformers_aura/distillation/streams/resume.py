"""How a training on a stream goes on from a checkpoint: what the checkpoint keeps of it, and where the epoch stands."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from transformers import TrainerCallback
from transformers.utils import logging

from ...whole_files import write_whole
from .loader import StreamLoader


logger = logging.get_logger(__name__)


def _state_file(checkpoint: Path, rank: int) -> Path:
    return checkpoint / f"data_state_{rank}.json"


def is_stream_state(name: str) -> bool:
    """Whether a file of a checkpoint tells where a process is in its stream."""
    return re.fullmatch(r"data_state_\d+\.json", name) is not None


def save_stream_state(loader: StreamLoader, checkpoint: Path) -> None:
    """Write where this process is; each does."""
    checkpoint.mkdir(parents=True, exist_ok=True)
    write_whole(_state_file(checkpoint, loader.rank), json.dumps(loader.state_dict()))


def resume_stream(loader: StreamLoader, checkpoint: Path, epoch: int, num_batches: int) -> None:
    """Let a loader go on from a checkpoint; where its state is of no use here, by reading what was seen again.

    Args:
        loader: of this process.
        checkpoint: of the run.
        epoch: that the run was in.
        num_batches: of that epoch, which this process has taken.
    """
    file = _state_file(checkpoint, loader.rank)
    try:
        loader.load_state_dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError) as error:
        reason = f"there is no {file.name}" if isinstance(error, FileNotFoundError) else str(error)
        logger.warning(
            f"{checkpoint} does not tell where this run is in its stream ({reason}). The first {num_batches} batches of epoch {epoch} are read and passed over; "
            "with other numbers of processes or workers, or other sources, some rows are seen twice and others not at all in this epoch."
        )
        loader.set_epoch(epoch)
        loader.skip(num_batches)


class ResumedEpochCallback(TrainerCallback):
    """Counts the epoch in which a run goes on from where it was: the stock Trainer is told that it begins.

    Args:
        epoch: its number.
        num_batches: taken before.
        batches_per_epoch: what the Trainer takes for the length of an epoch.
    """

    def __init__(self, epoch: int, num_batches: int, batches_per_epoch: int) -> None:
        self.epoch = epoch
        self.num_batches = num_batches
        self.batches_per_epoch = batches_per_epoch
        self._has_stepped = False
        self._is_over = False

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Add what was taken before."""
        if not self._is_over:
            self._has_stepped = True
            taken = round((state.epoch - self.epoch) * self.batches_per_epoch)
            state.epoch = self.epoch + (taken + self.num_batches) / self.batches_per_epoch

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """An epoch whose end was saved holds no further row: that ends the epoch, not the training."""
        if not self._is_over and not self._has_stepped:
            control.should_training_stop = False
        self._is_over = True
