"""A trainer's checkpoints and what it saves otherwise: what is written, and read back."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import Trainer
from transformers.trainer import TRAINING_ARGS_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, HubStrategy
from transformers.utils import SAFE_WEIGHTS_NAME, PushInProgress, logging

from ..modeling.adapter import is_adapter_key
from ..modeling.adapter_weights import load_adapter_weights
from ..modeling.modeling_aura import AuraForSpeechQA
from .checkpoint_files import (
    check_contents,
    checkpoint_step,
    complete_checkpoints,
    drop_old_checkpoints,
    is_checkpoint,
    write_checksums,
)
from .divergence import DivergenceWatch, TrainingDivergedError, nonfinite_names
from .heads import HEADS_FILE_NAME, DistillationHeads
from .second_teacher import SECOND_HEADS_FILE_NAME
from .streams.loader import StreamLoader
from .streams.resume import save_stream_state


logger = logging.get_logger(__name__)


class CheckpointedTrainer(Trainer):
    """A `Trainer` whose checkpoints (`checkpoint-N/`) hold the student as it is trained and the distillation heads; what it saves otherwise is the
    student, in its own dtype.

    A checkpoint carries checksums of its files. Weights that are not finite numbers are never written.

    Attributes:
        divergence: looks at every step.
        heads: the distillation heads, if there is a teacher.
        second_heads: those of a second teacher, if there is one.
        student_dtype: of the student before training.
    """

    model: AuraForSpeechQA
    heads: DistillationHeads | None
    second_heads: DistillationHeads | None = None
    student_dtype: torch.dtype
    divergence: DivergenceWatch
    push_in_progress: PushInProgress | None
    _new_checkpoint: Path | None = None

    def check_weights(self) -> None:
        """
        Raises:
            TrainingDivergedError: a weight that is saved is NaN or infinite.
        """
        tensors = {name: tensor for name, tensor in self.model.state_dict().items() if is_adapter_key(name)}
        for file_name, heads in self._heads_by_file.items():
            part = file_name.partition(".")[0]
            tensors |= {f"{part}.{name}": tensor for name, tensor in heads.state_dict().items()}
        if names := nonfinite_names(tensors):
            step = self.state.global_step
            raise self.diverged(f"after step {step} {len(names)} weights are not finite, such as {names[0]}.", step)

    def diverged(self, what: str, step: int) -> TrainingDivergedError:
        """The error of a training that diverged.

        Args:
            what: is not finite, a sentence.
            step: the last one that the weights have had.
        """
        folders = complete_checkpoints(str(self.args.output_dir))
        before = next((folder for folder in folders if checkpoint_step(folder) < step), None)
        saved = (
            "There is no checkpoint from before."
            if before is None
            else f"The last checkpoint from before is {before}."
        )
        return TrainingDivergedError(
            f"The training diverged: {what} {self.divergence.advice} {saved} A resumed run keeps its learning rates, so begin anew, or from the "
            "student in a checkpoint (`model.student` of a recipe), in another `output_dir`."
        )

    def accept_new_checkpoint(self) -> None:
        """Remove the oldest checkpoints beyond `save_total_limit`.

        Called once a step after the newest one was finite: only then is it known to be of use.
        """
        if self._new_checkpoint is not None and self.args.should_save:
            best = self.state.best_model_checkpoint
            drop_old_checkpoints(self._new_checkpoint.parent, self.args.save_total_limit, self._new_checkpoint, best)
        self._new_checkpoint = None

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        folder = Path(str(self.args.output_dir if output_dir is None else output_dir))
        self.check_weights()
        if state_dict is None and not is_checkpoint(folder):
            state_dict = {
                name: tensor.to(self.student_dtype) if tensor.is_floating_point() else tensor
                for name, tensor in self.model.state_dict().items()
                if is_adapter_key(name)
            }
        left = "The last checkpoint is not touched: resume from it (`--resume`), and the student is saved."
        with nullcontext() if is_checkpoint(folder) else _failed_writes_explained(folder, left):
            super()._save(str(folder), state_dict=state_dict)
            if self.args.should_save:  # a pickle, which nothing reads
                (folder / TRAINING_ARGS_NAME).unlink(missing_ok=True)
            # The heads belong to the state of the training, not to the student.
            if self.args.should_save and is_checkpoint(folder):
                for file_name, heads in self._heads_by_file.items():
                    heads.save(folder / file_name)

    def _save_checkpoint(self, model: nn.Module, trial: object) -> None:
        folder = Path(self._get_output_dir(trial)) / f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
        limit, self.args.save_total_limit = self.args.save_total_limit, None  # see `accept_new_checkpoint`
        left = "It is removed; the checkpoints before are not touched: resume from the last (`--resume`)."
        try:
            with _failed_writes_explained(folder, left):
                super()._save_checkpoint(model, trial)
                if isinstance(loader := self.callback_handler.train_dataloader, StreamLoader):
                    save_stream_state(loader, folder)
                self.accelerator.wait_for_everyone()
                if self.args.should_save:
                    write_checksums(folder)
        except OSError:
            if self.args.should_save:
                shutil.rmtree(folder, ignore_errors=True)
            raise
        finally:
            self.args.save_total_limit = limit
        self._new_checkpoint = folder

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        """Upload the student as it is now, in the background (`hub_strategy="every_save"`); nothing of the checkpoint itself."""
        if self.args.hub_strategy == HubStrategy.END:
            return
        running = self.push_in_progress is not None and not self.push_in_progress.is_done()
        if running and not self.args.hub_always_push:
            return  # the files that it reads must not change
        self._finish_current_push()
        upload = self.push_to_hub(f"Training in progress, step {self.state.global_step}", blocking=False)
        if upload is not None:  # of the main process
            self.push_in_progress = PushInProgress([upload])

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        """Load the student's trained weights and the heads; anything missing or misfitting is an error."""
        self._load_weights(Path(resume_from_checkpoint))

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        asked = [_settings(group) for group in self.optimizer.param_groups]
        super()._load_optimizer_and_scheduler(checkpoint)
        for group, settings in zip(self.optimizer.param_groups, asked, strict=True):
            for name, value in settings.items():
                if group.get(name, value) != value:
                    raise ValueError(
                        f"The optimizer's {name.replace('initial_lr', 'learning rate')} is {value} in this run and {group[name]} in {checkpoint}: "
                        "a resumed run keeps that of its checkpoint. Resume with the settings of the first run, or begin a further run from the "
                        "student in that checkpoint (`model.student` of a recipe) in another `output_dir`."
                    )

    def _load_best_model(self) -> None:
        logger.info(f"Loading the best model from {self.state.best_model_checkpoint} ({self.state.best_metric}).")
        self.check_weights()
        best = Path(str(self.state.best_model_checkpoint))
        check_contents(best)
        self._load_weights(best)

    def _load_weights(self, checkpoint: Path) -> None:
        load_adapter_weights(self.model, checkpoint / SAFE_WEIGHTS_NAME)
        self.load_heads(checkpoint)

    def load_heads(self, checkpoint: str | Path) -> None:
        """Take over the distillation heads of a training checkpoint, as a further stage of training does that goes on from its student.

        Raises:
            FileNotFoundError, ValueError: the checkpoint has no heads, or those of other layers or another teacher.
        """
        for file_name, heads in self._heads_by_file.items():
            heads.load_from(Path(checkpoint) / file_name)

    @property
    def _heads_by_file(self) -> dict[str, DistillationHeads]:
        named = {HEADS_FILE_NAME: self.heads, SECOND_HEADS_FILE_NAME: self.second_heads}
        return {name: heads for name, heads in named.items() if heads is not None}

    def create_model_card(self, *args: object, **kwargs: object) -> None:
        """Keep a model card that is there already; else write the Trainer's."""
        if not (Path(str(self.args.output_dir)) / "README.md").exists():
            super().create_model_card(*args, **kwargs)


def _settings(group: dict) -> dict:
    """The numbers by which an optimizer works on a group of parameters, but for the learning rate of the moment."""
    return {
        name: value
        for name, value in group.items()
        if name not in ("params", "lr") and isinstance(value, (int, float, tuple)) and not isinstance(value, bool)
    }


@contextmanager
def _failed_writes_explained(folder: Path, what_is_left: str) -> Iterator[None]:
    """Say which folder could not be written, and how much space there is, where a library below names neither.

    Raises:
        OSError: something could not be written.
    """
    try:
        yield
    except TrainingDivergedError:
        raise
    except (OSError, SafetensorError, RuntimeError) as error:  # torch.save and safetensors have errors of their own
        free = shutil.disk_usage(next(path for path in (folder, *folder.absolute().parents) if path.exists())).free
        raise OSError(
            f"{folder} could not be written ({error}); {free / 1e6:,.0f} MB are free there. {what_is_left} Make room if the disk is full.",
        ) from error
