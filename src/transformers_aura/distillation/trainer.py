"""The trainer: a stock `transformers.Trainer` whose loss is the sum of its objectives: what the teacher, the text and the base LLM teach."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader
from transformers import EvalPrediction, TrainerCallback
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_callback import ProgressCallback, TrainerState
from transformers.trainer_utils import has_length
from transformers.utils import ModelOutput, logging

from ..folder_lock import lock_folder
from ..modeling.modeling_aura import AuraForSpeechQA
from ..processing.processing_aura import AuraProcessor
from .augmentation import WaveformAugmentation
from .checkpoint_files import checkpoint_to_resume
from .checkpoints import CheckpointedTrainer
from .collator import AuraDataCollator
from .divergence import DivergenceWatch
from .early_stopping import has_stopped_early, patience_kept
from .evaluations import EvaluatedTrainer
from .forward_pass import ForwardPass, loss_name
from .heads import DistillationHeads
from .launching import check_shards
from .learning_rates import parameter_groups
from .logs import CompactProgressCallback, FigureMeans, HistoryCallback
from .objectives import Objective, SecondTeacherObjective, default_objectives
from .preparation import (
    check_compatible,
    columns_of,
    distillation_heads,
    early_end,
    freeze_what_rests,
    second_distillation_heads,
    without_text_only_rows,
)
from .rows import LengthGroupedBatches, NumberedRows, NumberedStream
from .second_teacher import SecondTeacher
from .sharding import ShardedTrainer
from .streams.loader import StreamLoader
from .streams.mixture import StreamedRows
from .streams.resume import ResumedEpochCallback, resume_stream
from .targets import TeacherTargets, standardize_targets
from .teacher import AuraTeacher, Teacher
from .training_args import AuraTrainingArguments
from .zero import check_zero


logger = logging.get_logger(__name__)


@dataclass
class AuraTrainingOutput(ModelOutput):
    """What a step computed.

    Attributes:
        loss (`torch.FloatTensor` of shape `(1,)`): weighted sum, normalised over the whole optimisation step.
        sums, counts (`torch.FloatTensor` of shape `(figures,)`): of this batch, in the order of [`ForwardPass.figure_names`].
    """

    loss: torch.FloatTensor | None = None
    sums: torch.FloatTensor | None = None
    counts: torch.FloatTensor | None = None


class AuraTrainer(EvaluatedTrainer, CheckpointedTrainer, ShardedTrainer):
    r"""
    Trains an AuRA student with a Whisper encoder, text, and the base LLM as teachers.

    Everything of [`~transformers.Trainer`] works as usual (resuming, gradient accumulation, mixed precision, callbacks,
    `push_to_hub`, `torchrun`); it differs in:

    - **The loss** is the weighted sum of its objectives, each normalised over the whole optimisation step, so that neither the number of
      micro-batches nor that of processes changes it. Each is logged; they are summed on the device and fetched once per log.
      `training_history.jsonl` in `output_dir` keeps every log.
    - **The teacher** is used here only: it is not in the model, the optimizer, a checkpoint or a distributed wrapper.
    - **The distillation heads** are trained beside the student and wrapped with it for several processes, so that gradients are clipped
      and reduced together. They are saved with the optimizer state (`checkpoint-N/distillation_heads.safetensors`), never
      with the student: `save_model`, `push_to_hub` and `model.save_pretrained` write the compact repo and the processor.
    - **The student's CTC heads** are part of it, and of all that is saved of it. One that no objective trains stays as it is.
    - **Half-precision students** (bfloat16, float16): the trained weights are kept in float32 during training, where small
      updates would be rounded away; checkpoints hold them so, `save_model` and `push_to_hub` write the student's own dtype.
    - **Steps without the LLM's head** run the student only as deep as the deepest objective reads and only up to the last audio position: not at
      all where the patch embedding is all that learns.
    - **A learning rate of 0** freezes its part (LoRA, patch embedding or heads), which then takes no time.
    - **A training that diverges** (a loss, a gradient or a weight is NaN or infinite) stops before the optimizer's step in all processes, with
      [`TrainingDivergedError`]; what is not finite is never saved, and an old checkpoint goes only once a step after the newest was finite. This
      costs one transfer from the device a step, in place of the stock Trainer's one a micro-batch.
    - **Streams** ([`StreamedRows`], `data.stream` of a recipe) are divided among processes and workers. A process whose part ends goes along with empty batches until
      all have ended; a checkpoint keeps where each worker is.
    - **A checkpoint** carries checksums (`SHA256SUMS`). A resume passes over one that is damaged or incomplete. A stream goes on in its own order,
      a run that has ended takes no further step, and settings of the optimizer that would be ignored are refused.
    - **One run a folder**: `output_dir` is locked while `train` runs.

    Args:
        model ([`AuraForSpeechQA`]): the student.
        teacher ([`AuraTeacher`], *optional*): needed unless `args.supervision="transcript"`. `AuraTeacher.from_random` is
            the control that tells what distillation is worth.
        args ([`AuraTrainingArguments`]): the arguments.
        data_collator ([`AuraDataCollator`], *optional*): made from `args`, the objectives and `processing_class` by default.
        train_dataset, eval_dataset: rows as [`AuraDataCollator`] takes them: lists of dicts, `datasets.Dataset`, ... For
            evaluation also a dict of several.
        processing_class ([`AuraProcessor`]): of the student.
        callbacks (`list` of [`~transformers.TrainerCallback`], *optional*): further callbacks.
        optimizers (`tuple`, *optional*): as in [`~transformers.Trainer`].
        context_texts (`Sequence[str]`, *optional*): texts for `args.context_probability`.
        augmentation ([`WaveformAugmentation`], *optional*): rooms, microphones and noise on what the student gets.
        objectives (`Mapping[str, Objective]`, *optional*): what is learnt, by the name that logs call it; `default_objectives(args)` by default.
        second_teacher ([`SecondTeacher`], *optional*): a further encoder, for what a recogniser of words throws away (who speaks, how), with layer pairs and
            a weight of its own.
        compute_metrics (`Callable[[EvalPrediction], dict[str, float]]`, *optional*): figures of what the student answers in an evaluation, for instance
            [`~evaluation.training_metrics.AnswerMetrics`]. It gets texts: `predictions` (what the student answers), `label_ids` (the right answers,
            `None` where a row has none) and `inputs` (a list of [`AskedRow`]), all in the order of the dataset. Without it an evaluation generates nothing.

    Attributes:
        objectives (`dict[str, Objective]`): what is learnt.
        heads ([`DistillationHeads`] or `None`): the distillation heads, trained so far.
        second_heads ([`DistillationHeads`] or `None`): those of the second teacher.
        forward_pass ([`ForwardPass`]): student and heads as one module.
        holds_output_dir (`bool`): whether whoever uses the trainer holds `lock_folder(output_dir)` already; else `train` does while it runs.

    Example:
        ```python
        student = AuraForSpeechQA.from_language_model_pretrained("HuggingFaceTB/SmolLM2-135M-Instruct")
        processor = AuraProcessor.from_language_model_pretrained("HuggingFaceTB/SmolLM2-135M-Instruct")
        trainer = AuraTrainer(
            model=student,
            teacher=AuraTeacher.from_pretrained("openai/whisper-tiny.en"),
            args=AuraTrainingArguments("out", max_steps=1000),
            train_dataset=[{"audio": "clip.wav", "transcript": "Two coffees, please."}, ...],
            processing_class=processor,
        )
        trainer.train()
        trainer.save_model()
        ```
    """

    # The loss is normalised over the whole optimisation step here, so the Trainer must not divide it again.
    loss_is_scaled_for_ga = True

    args: AuraTrainingArguments
    holds_output_dir = False

    def __init__(
        self,
        model: AuraForSpeechQA,
        teacher: AuraTeacher | None = None,
        args: AuraTrainingArguments | None = None,
        data_collator: AuraDataCollator | None = None,
        train_dataset: Any = None,
        eval_dataset: Any = None,
        processing_class: AuraProcessor | None = None,
        callbacks: list[TrainerCallback] | None = None,
        optimizers: tuple[Any, Any] = (None, None),
        context_texts: Sequence[str] | None = None,
        augmentation: WaveformAugmentation | None = None,
        objectives: Mapping[str, Objective] | None = None,
        compute_metrics: Callable[[EvalPrediction], dict[str, float]] | None = None,
        second_teacher: SecondTeacher | None = None,
    ) -> None:
        args = AuraTrainingArguments("aura_student") if args is None else args
        if not isinstance(model, AuraForSpeechQA):
            raise TypeError(f"AuraTrainer trains an AuraForSpeechQA, got {type(model).__name__}.")
        if not isinstance(args, AuraTrainingArguments):
            raise TypeError(f"AuraTrainer needs AuraTrainingArguments, got {type(args).__name__}.")
        check_zero(args, args.zero)
        check_shards(args, args.sharding)
        if processing_class is None and data_collator is not None:
            processing_class = data_collator.processor
        if processing_class is None:
            raise ValueError("Pass the student's processor as `processing_class=` (an AuraProcessor).")
        self.objectives = default_objectives(args) if objectives is None else dict(objectives)
        if second_teacher is not None:
            self.objectives[SecondTeacherObjective.name] = SecondTeacherObjective(second_teacher.weight)
        smoothing = args.label_smoothing_factor
        if smoothing and all(getattr(each, "label_smoothing", 0.0) != smoothing for each in self.objectives.values()):
            raise ValueError(
                f"`label_smoothing_factor={smoothing}` acts on the next-token cross-entropy (`lm`), which these objectives lack: "
                f"{', '.join(self.objectives)}."
            )
        if args.sharding is not None and any(objective.asks_student for objective in self.objectives.values()):
            raise ValueError(
                "Where the base LLM is sharded, the student cannot answer while it trains, as each process gives answers of its own length: leave out "
                "`on_policy_weight`, or train without `fsdp` or stage 3 of DeepSpeed."
            )
        check_compatible(model, processing_class, args)
        needs_teacher = any(objective.needs_teacher for objective in self.objectives.values())
        self.heads = distillation_heads(model, teacher, args) if needs_teacher else None
        self.second_heads = second_distillation_heads(model, second_teacher, args)
        for objective in self.objectives.values():
            objective.prepare(model, self.second_heads if objective.needs_second_teacher else self.heads)
        freeze_what_rests(model, self.objectives.values(), args)
        columns = columns_of(self.objectives.values())
        keep_text_only_rows = model.config.lora_scope == "always"
        if data_collator is None:
            data_collator = AuraDataCollator(
                processing_class,
                keep_text_only_rows=keep_text_only_rows,
                labels_required=any(objective.needs_text for objective in self.objectives.values()),
                columns=columns,
                max_length=model.config.text_config.max_position_embeddings,
                pad_to_multiple_of=args.pad_to_multiple_of,
                random_gain_db=args.random_gain_db,
                context_texts=context_texts,
                context_probability=args.context_probability,
                context_max_words=args.context_max_words,
                augmentation=augmentation,
            )
        elif missing := [column for column in columns if column not in data_collator.columns]:
            raise ValueError(
                f"The objectives {', '.join(self.objectives)} need columns that the data collator does not make: pass "
                f"`AuraDataCollator(..., columns=...)` with {', '.join(map(str, missing))}, or no collator: the trainer makes its own."
            )
        if not keep_text_only_rows:
            train_dataset = without_text_only_rows(train_dataset)
        self.student_dtype = model.dtype
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.float()
        super().__init__(
            model=model,
            args=args,
            data_collator=data_collator,
            train_dataset=train_dataset,
            eval_dataset=eval_dataset,
            processing_class=processing_class,
            compute_metrics=compute_metrics,
            callbacks=callbacks,
            optimizers=optimizers,
        )
        if self.args.n_gpu > 1:
            raise ValueError(
                f"{self.args.n_gpu} GPUs are visible to one process, which would use `nn.DataParallel`. Start one process "
                "per GPU with `torchrun --nproc_per_node ...`, or set CUDA_VISIBLE_DEVICES to one of them."
            )
        self.targets = self._targets_of(teacher, self.heads)
        self.second_targets = self._targets_of(
            None if second_teacher is None else second_teacher.teacher, self.second_heads
        )
        self.forward_pass = self._place(
            ForwardPass(model, self.objectives, self.heads, args.pad_to_multiple_of, self.second_heads)
        )
        # Wrapped for training in place of the bare student; see `_wrap_model`.
        self.model_wrapped = self.forward_pass
        self._forget_sums()
        self.current_gradient_accumulation_steps = 1
        self.add_callback(_BeginCallback(self))
        self.add_callback(HistoryCallback)
        if self.pop_callback(ProgressCallback) is not None:
            self.add_callback(CompactProgressCallback)

    def _targets_of(self, teacher: Teacher | None, heads: DistillationHeads | None) -> TeacherTargets | None:
        if teacher is None or heads is None:
            return None
        return TeacherTargets(
            teacher.to(self.args.device),
            heads.teacher_layers,
            self.model.config.audio_config.frames_per_token,
            self.args.time_alignment,
            self.args.teacher_cache_dir,
        )

    def _forget_sums(self) -> None:
        self._means = FigureMeans(len(self.forward_pass.figure_names), self.args.device)
        self.divergence = DivergenceWatch()

    # ---- the loss ----

    @property
    def loss_weights(self) -> dict[str, float]:
        """Weight of each term of the loss, by the name that logs call it."""
        return {loss_name(name): objective.weight for name, objective in self.objectives.items()}

    def _active(self, training: bool) -> list[str]:
        """The objectives of this step."""
        if not training:
            return list(self.objectives)
        step = self.state.global_step
        warming_up = step < self.args.get_distillation_warmup_steps(self.state.max_steps)
        drawn = np.random.default_rng([self.args.seed, step]).random()  # the same in all processes
        return [
            name
            for name, objective in self.objectives.items()
            if drawn < objective.share_of_steps and not (warming_up and objective.teaches_answers)
        ]

    def _student_columns(
        self, batch: Mapping[str, Any], names: Sequence[str], seed: Sequence[int] | None
    ) -> dict[str, Any]:
        """The columns that these objectives make with the student as it is now, see [`Objective.student_columns`]."""
        asking = [self.objectives[name] for name in names if self.objectives[name].asks_student]
        columns: dict[str, Any] = {}
        if asking:
            batch = self._prepare_inputs(dict(batch))
        with torch.no_grad(), self.accelerator.autocast():
            for objective in asking:
                columns |= objective.student_columns(self.model, batch, seed)
        return columns

    def get_batch_samples(
        self, epoch_iterator: Iterator, num_batches: int, device: torch.device
    ) -> tuple[list, torch.Tensor | None]:
        """The micro-batches of one optimisation step, and its counts over all of them and all processes."""
        batch_samples = list(islice(epoch_iterator, num_batches))
        if isinstance(self.train_dataset, StreamedRows):
            batch_samples = self._filled_up(batch_samples, num_batches)
        elif len(batch_samples) < num_batches and not has_length(self.train_dataset):
            batch_samples = []  # the end of a stream: stock transformers would add what is left to the next step's gradients
        if not batch_samples:
            return batch_samples, None
        names = self._active(training=True)
        for number, batch in enumerate(batch_samples):
            seed = [self.args.seed, self.state.global_step, number, self.args.process_index]
            batch |= self._student_columns(batch, names, seed)
        counts = torch.stack([self.forward_pass.counts(batch) for batch in batch_samples]).sum(dim=0).to(device)
        return batch_samples, self.accelerator.reduce(counts, "sum")

    def _filled_up(self, batches: list, num_batches: int) -> list:
        """The batches of a step on this process's device, with empty ones in place of those that it lacks: it has come to the end of its part of a stream, and
        goes along until all have. Empty, where all have."""
        taken = torch.tensor(len(batches), device=self.args.device)
        if not (int(self.accelerator.reduce(taken, "sum")) if self.args.world_size > 1 else len(batches)):
            self.control.should_epoch_stop = True  # else the stock Trainer asks on for as many steps as the run has
            return []
        batches += [self.data_collator([]) for _ in range(num_batches - len(batches))]
        return [self._prepare_inputs(batch) for batch in batches]

    def _sums(self, module: nn.Module, batch: Mapping[str, Any], names: Sequence[str]) -> torch.Tensor:
        """The sums of these objectives over a batch, with the teacher's states where it has waveforms for them."""
        columns = dict(batch)
        waveforms = columns.pop("waveforms", [])
        needs_teacher = any(self.objectives[name].needs_teacher for name in names)
        targets = self.targets(waveforms) if needs_teacher and self.targets is not None and waveforms else None
        if self.second_targets is None or not waveforms:
            return module(names, columns, targets)
        return module(names, columns, targets, self.second_targets(waveforms))

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | None = None,
    ) -> Any:
        """See [`~transformers.Trainer.compute_loss`]; `num_items_in_batch` holds one count for each sum."""
        names = self._active(training=True)
        sums = self._sums(model, inputs, names)
        counts = self.forward_pass.counts(inputs) if num_items_in_batch is None else num_items_in_batch
        values = sums / counts.clamp(min=1)
        weights = values.new_tensor(list(self.loss_weights.values()))
        # Processes average their gradients, but the sums are normalised over all of them.
        loss = (weights * values[: len(weights)]).sum() * self.accelerator.num_processes
        is_used = self.forward_pass.is_used(names)
        self._means.add(values.detach(), counts, is_used, self.current_gradient_accumulation_steps)
        return (loss, AuraTrainingOutput(loss, sums, counts)) if return_outputs else loss

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """See [`~transformers.Trainer.training_step`]; the loss is looked at when the gradients of the whole step are there."""
        loss = super().training_step(*args, **kwargs)
        self.divergence.add(loss)
        return loss

    def _get_grad_norm(self, model: nn.Module, grad_norm: Any = None) -> Any:
        """The norm of a step's gradients, after all of its micro-batches and before the optimizer gets them."""
        grad_norm = super()._get_grad_norm(model, grad_norm=grad_norm)
        step = self.state.global_step
        rates = [group["lr"] for group in self.optimizer.param_groups]
        if problem := self.divergence.check_step(self.accelerator, step + 1, grad_norm, rates):
            means = self._named(*self._means.fetch(self.accelerator))
            names = ", ".join(name for name in self.loss_weights if not math.isfinite(means.get(name, 0.0)))
            raise self.diverged(f"{problem} Not finite: {names or 'gradients'}.", step)
        self.accept_new_checkpoint()
        return grad_norm

    # ---- optimizer ----

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """The optimizer, with a learning rate of its own for the audio patch embedding and for the heads."""
        if self.optimizer is not None:
            return self.optimizer
        optimizer_class, optimizer_kwargs = self.get_optimizer_cls_and_kwargs(self.args, self.model)
        unsupported = sorted({"params", "model", "optimizer_dict"} & set(optimizer_kwargs))
        if unsupported or not isinstance(optimizer_class, type):
            raise ValueError(
                f"`optim={self.args.optim!s}` builds its own parameter groups, which AuraTrainer cannot use."
            )
        groups = parameter_groups(self.forward_pass.named_parameters(), self.args)
        self.optimizer = optimizer_class(groups, **optimizer_kwargs)
        return self.optimizer

    # ---- data ----

    def get_train_dataloader(self) -> DataLoader:
        """The data loader, over rows that carry the seed of their augmentation."""
        dataset = self.train_dataset
        if dataset is None:
            raise ValueError("Training needs `train_dataset`.")
        if not has_length(dataset) and self.args.train_sampling_strategy == "group_by_length":
            raise ValueError(
                "`train_sampling_strategy='group_by_length'` needs rows that can be read in any order; a stream cannot."
            )
        if isinstance(dataset, StreamedRows):
            self._numbered_rows = self._stream_loader(dataset)
            return self._numbered_rows
        numbered = NumberedRows if has_length(dataset) else NumberedStream
        self.train_dataset = numbered(dataset, self.args.seed)
        try:
            loader = super().get_train_dataloader()
            self._numbered_rows = self.train_dataset
        finally:
            self.train_dataset = dataset
        return loader

    def _stream_loader(self, rows: StreamedRows) -> StreamLoader:
        loader = StreamLoader(
            rows,
            self.data_collator,
            self._train_batch_size,
            self.args.dataloader_num_workers,
            self.args.process_index,
            self.args.world_size,
            self.args.dataloader_drop_last,
            pin_memory=self.args.dataloader_pin_memory,
            prefetch_factor=self.args.dataloader_prefetch_factor,
            multiprocessing_context=self.args.dataloader_multiprocessing_context,
        )
        if self.is_world_process_zero():
            loader.warn_of_few_shards()
        return loader

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        dataset = self.train_dataset if train_dataset is None else train_dataset
        if self.args.train_sampling_strategy != "group_by_length":
            return super()._get_train_sampler(train_dataset)
        step_size = self.args.train_batch_size * self.args.world_size * self.args.gradient_accumulation_steps
        return LengthGroupedBatches(dataset, step_size, self.args.data_seed)

    # ---- training ----

    def _ensure_statistics(self) -> None:
        """Estimate mean and deviation of each teacher's states over the first training clips, once."""
        for heads, targets in ((self.heads, self.targets), (self.second_heads, self.second_targets)):
            if heads is not None and heads.needs_statistics and targets is not None:
                self._estimate_statistics(heads, targets)

    def _estimate_statistics(self, heads: DistillationHeads, targets: TeacherTargets) -> None:
        source = self.train_dataset if self.train_dataset is not None else self.eval_dataset
        if isinstance(source, dict):
            source = next(iter(source.values()))
        standardize_targets(
            heads,
            targets,
            self._waveforms(source),
            batch_size=self.args.per_device_train_batch_size,
            show_progress=not self.args.disable_tqdm and self.is_world_process_zero(),
        )
        if self.args.world_size > 1:
            for buffer in (heads.target_mean, heads.target_std):
                torch.distributed.broadcast(buffer, src=0)

    def _waveforms(self, dataset: Any) -> Iterator[Any]:
        rows: Iterable = (dataset[index] for index in range(len(dataset))) if has_length(dataset) else dataset
        for row in rows:
            waveform = self.data_collator.load_waveform(row)
            if waveform is not None:
                yield waveform

    def _init_training_state(
        self,
        max_steps: int,
        num_update_steps_per_epoch: int,
        num_train_epochs: int,
        resume_from_checkpoint: str | None,
        trial: Any,
    ) -> tuple[int, int]:
        """The epoch, and the micro-batch in it, where the training begins or goes on."""
        with patience_kept(self):
            start = super()._init_training_state(
                max_steps, num_update_steps_per_epoch, num_train_epochs, resume_from_checkpoint, trial
            )
        if self.state.global_step >= max_steps or has_stopped_early(self):
            return num_train_epochs, 0  # nothing is left; stock transformers would take a further step
        if resume_from_checkpoint is None or has_length(self.train_dataset) or self.args.ignore_data_skip:
            return start
        # Nobody knows how long a stream is, so stock transformers takes all steps of a run for one pass over it.
        saved = TrainerState.load_from_json(str(Path(resume_from_checkpoint) / TRAINER_STATE_NAME))
        finished_passes = math.ceil(saved.epoch) - 1
        share = saved.epoch - finished_passes
        num_batches = round(share * saved.max_steps * self.args.gradient_accumulation_steps)
        if not isinstance(self._numbered_rows, StreamLoader):
            return finished_passes, num_batches
        resume_stream(self._numbered_rows, Path(resume_from_checkpoint), finished_passes, num_batches)
        self.add_callback(
            ResumedEpochCallback(finished_passes, num_batches, max_steps * self.args.gradient_accumulation_steps)
        )
        return finished_passes, 0  # the loader itself begins where it was

    def train(self, resume_from_checkpoint: str | bool | None = None, *args: Any, **kwargs: Any) -> Any:
        """See [`~transformers.Trainer.train`]; `resume_from_checkpoint=True` takes the last checkpoint that is complete and undamaged.

        Raises:
            ValueError: there is no such checkpoint, or an objective found nothing in the data that it could learn from.
            FolderInUseError: another run writes to `output_dir`.
            TrainingDivergedError: a loss, gradient or weight was NaN or infinite; the weights are those before that step.
        """
        writes = self.args.should_save and not self.holds_output_dir
        with lock_folder(str(self.args.output_dir), "a training") if writes else nullcontext():
            checkpoint = checkpoint_to_resume(self.args.output_dir, resume_from_checkpoint)
            if checkpoint is None:
                self._ensure_statistics()
            try:
                result = super().train(checkpoint, *args, **kwargs)
            finally:
                self.is_in_train = False
            if not self.state.global_step:
                raise ValueError(
                    "No step was taken: `train_dataset` has no row, or as a stream fewer than the "
                    f"{self.args.gradient_accumulation_steps} batches of a step (`gradient_accumulation_steps`)."
                )
            self.check_weights()
            self.accept_new_checkpoint()
        self._report(*self._means.fetch(self.accelerator), is_last=True)
        return result

    # ---- logging ----

    def _named(self, values: Sequence[float], counts: Sequence[float]) -> dict[str, float]:
        """The figures that were there, by name."""
        names = self.forward_pass.figure_names
        return {name: value for name, value, count in zip(names, values, counts, strict=True) if count > 0}

    def _report(self, values: Sequence[float], counts: Sequence[float], is_last: bool) -> None:
        """Let each objective see its own metrics, and whether it had anything to learn from.

        Raises:
            ValueError: the training ends, and a CTC head of the student had nothing to learn from.
        """
        figures, counted = self._named(values, counts), self._named(counts, counts)
        for name, objective in self.objectives.items():
            objective.has_learnt |= loss_name(name) in figures
            own = [metric for metric in objective.metrics if metric in figures]
            objective.report(
                {metric: figures[metric] for metric in own},
                {metric: counted[metric] for metric in own},
                is_last=is_last,
            )
            if not is_last or objective.has_learnt or early_end(self.args, self.state.max_steps) is not None:
                continue
            message = f"`{name}` had nothing to learn from in the whole training: no row has what it needs"
            if objective.trained_head is not None:
                raise ValueError(
                    f"{message}, so the student's {objective.trained_head} is as it was made. Give rows with transcripts, or leave the head out."
                )
            logger.warning(f"{message}.")

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """See [`~transformers.Trainer.log`]; adds the terms of the loss and what else the objectives tell."""
        if "loss" in logs:
            values, counts = self._means.fetch(self.accelerator)
            logs.update(self._named(values, counts))
            self._report(values, counts, is_last=False)
        super().log(logs, start_time)


class _BeginCallback(TrainerCallback):
    """Forgets what was summed up by a training that was tried before, and tells the rows which epoch begins."""

    def __init__(self, trainer: AuraTrainer) -> None:
        self._trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._trainer._forget_sums()
        if (warning := early_end(self._trainer.args, state.max_steps)) is not None:
            logger.warning(warning)
        logged = [entry for entry in state.log_history if "loss" in entry]
        for name, objective in self._trainer.objectives.items():
            # What was learnt before a run was resumed is told by its logs alone.
            was_resumed_without_logs = state.global_step > 0 and not logged
            objective.has_learnt |= was_resumed_without_logs or any(loss_name(name) in entry for entry in logged)

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._trainer._numbered_rows.set_epoch(math.floor(state.epoch or 0.0))
