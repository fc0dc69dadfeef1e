"""Checkpoints of a run: what is written, which one is taken to go on from, what is read back."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import nn
from transformers import Trainer
from transformers.trainer import OPTIMIZER_NAME, SCHEDULER_NAME, TRAINER_STATE_NAME, TRAINING_ARGS_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR
from transformers.utils import SAFE_WEIGHTS_NAME, logging

from ..modeling.adapter import is_adapter_key
from ..modeling.loading import load_adapter_weights
from ..modeling.modeling_aura import AuraForSpeechQA
from .heads import HEADS_FILE_NAME, DistillationHeads


logger = logging.get_logger(__name__)

# The last one is written last.
_CHECKPOINT_FILES = (SAFE_WEIGHTS_NAME, OPTIMIZER_NAME, SCHEDULER_NAME, TRAINER_STATE_NAME)


class CheckpointedTrainer(Trainer):
    """A `Trainer` whose checkpoints (`checkpoint-N/`) hold the student as it is trained and the distillation heads; what it saves otherwise is the
    student, in its own dtype.

    Attributes:
        heads: the distillation heads, if there is a teacher.
        student_dtype: of the student before training.
    """

    model: AuraForSpeechQA
    heads: DistillationHeads | None
    student_dtype: torch.dtype

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        folder = Path(str(self.args.output_dir if output_dir is None else output_dir))
        if state_dict is None and not folder.name.startswith(PREFIX_CHECKPOINT_DIR):
            state_dict = {
                name: tensor.to(self.student_dtype) if tensor.is_floating_point() else tensor
                for name, tensor in self.model.state_dict().items()
                if is_adapter_key(name)
            }
        super()._save(str(folder), state_dict=state_dict)
        if self.args.should_save:  # a pickle, which nothing reads
            (folder / TRAINING_ARGS_NAME).unlink(missing_ok=True)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        """The heads belong to the state of the training, not to the student."""
        super()._save_optimizer_and_scheduler(output_dir)
        if self.heads is not None and self.args.should_save:
            self.heads.save(Path(output_dir) / HEADS_FILE_NAME)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        """Load the student's trained weights and the heads; anything missing or misfitting is an error."""
        folder = Path(resume_from_checkpoint)
        missing = _missing_from_checkpoint(folder)
        if missing:
            raise FileNotFoundError(
                f"{folder} lacks {', '.join(missing)}: it is not a training checkpoint, or writing it was interrupted. Resume "
                "from an earlier `checkpoint-N` folder, or with `resume_from_checkpoint=True` from the last complete one."
            )
        self._load_weights(folder)

    def _load_best_model(self) -> None:
        logger.info(f"Loading the best model from {self.state.best_model_checkpoint} ({self.state.best_metric}).")
        self._load_weights(Path(str(self.state.best_model_checkpoint)))

    def _load_weights(self, checkpoint: Path) -> None:
        load_adapter_weights(self.model, checkpoint / SAFE_WEIGHTS_NAME)
        self.load_heads(checkpoint)

    def load_heads(self, checkpoint: str | Path) -> None:
        """Take over the distillation heads of a training checkpoint, as a further stage of training does that goes on from its student.

        Raises:
            FileNotFoundError, ValueError: the checkpoint has no heads, or those of other layers or another teacher.
        """
        if self.heads is not None:
            self.heads.load_from(Path(checkpoint) / HEADS_FILE_NAME)

    def create_model_card(self, *args: object, **kwargs: object) -> None:
        """Keep a model card that is there already; else write the Trainer's."""
        if not (Path(str(self.args.output_dir)) / "README.md").exists():
            super().create_model_card(*args, **kwargs)


def checkpoint_to_resume(output_dir: str | Path, resume_from_checkpoint: str | bool | None) -> str | None:
    """The checkpoint that an argument `resume_from_checkpoint` means: `True` = the last complete one in `output_dir`.

    Raises:
        ValueError: there is none.
    """
    if not resume_from_checkpoint:
        return None
    if isinstance(resume_from_checkpoint, str):
        return resume_from_checkpoint
    last = last_complete_checkpoint(output_dir)
    if last is None:
        raise ValueError(
            f"There is no complete checkpoint in {output_dir} to go on from. Train without `resume_from_checkpoint` to begin anew."
        )
    return last


def last_complete_checkpoint(output_dir: str | Path) -> str | None:
    """The newest checkpoint of a run from which it can be resumed; one whose writing was interrupted is passed over."""
    folders = [
        folder
        for folder in Path(output_dir).glob(f"{PREFIX_CHECKPOINT_DIR}-*")
        if folder.name.removeprefix(f"{PREFIX_CHECKPOINT_DIR}-").isdigit()
    ]
    for folder in sorted(folders, key=lambda folder: int(folder.name.rpartition("-")[2]), reverse=True):
        if not _missing_from_checkpoint(folder):
            return str(folder)
        logger.warning(f"{folder} is incomplete (its writing was interrupted), so an earlier checkpoint is used.")
    return None


def _missing_from_checkpoint(folder: Path) -> list[str]:
    missing = [name for name in _CHECKPOINT_FILES if not (folder / name).is_file()]
    if not missing:
        try:
            json.loads((folder / TRAINER_STATE_NAME).read_text(encoding="utf-8"))
        except ValueError:
            return [f"a whole {TRAINER_STATE_NAME}"]
    return missing
