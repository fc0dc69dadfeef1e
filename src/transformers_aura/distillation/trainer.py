"""The trainer: a stock `transformers.Trainer` whose loss is the sum of what the teacher, the text and the base LLM teach."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch
from torch import nn
from torch.utils.data import DataLoader, Subset
from tqdm.auto import tqdm
from transformers import Trainer, TrainerCallback
from transformers.trainer import OPTIMIZER_NAME, SCHEDULER_NAME, TRAINER_STATE_NAME, TRAINING_ARGS_NAME
from transformers.trainer_callback import ProgressCallback
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, EvalLoopOutput, has_length
from transformers.utils import SAFE_WEIGHTS_NAME, ModelOutput, logging

from ..modeling.adapter import is_adapter_key
from ..modeling.ctc_heads import SUBWORD_CTC_HEAD_FILE_NAME, CharacterCTCHead, SubwordCTCHead
from ..modeling.loading import load_adapter_weights
from ..modeling.modeling_aura import AuraForSpeechQA
from ..processing.conversation import TRANSCRIPTION_INSTRUCTION
from ..processing.processing_aura import AuraProcessor
from .alignment import map_layers
from .augmentation import WaveformAugmentation
from .collator import IGNORED_LABEL, AuraDataCollator
from .heads import HEADS_FILE_NAME, DistillationHeads, TeacherStatistics
from .rows import LengthGroupedBatches, NumberedRows, NumberedStream
from .student_losses import NUM_TERMS, StudentLosses, Terms
from .targets import TeacherTargets
from .teacher import AuraTeacher
from .training_args import AuraTrainingArguments
from .transcript_heads import TRANSCRIPT_HEADS_FILE_NAME, TranscriptHeads


logger = logging.get_logger(__name__)

HISTORY_FILE_NAME = "training_history.jsonl"

Part: TypeAlias = Literal["lora", "audio_embedding", "heads"]
"""What has a learning rate of its own."""

_TERMS = ("cosine_loss", "mse_loss", "lm_loss", "answer_kl_loss", "ctc_loss", "subword_ctc_loss", "text_state_loss")
assert len(_TERMS) == NUM_TERMS


@dataclass
class AuraTrainingOutput(ModelOutput):
    """What a step computed.

    Attributes:
        loss (`torch.FloatTensor` of shape `(1,)`): weighted sum, normalised over the whole optimisation step.
        sums (`torch.FloatTensor` of shape `(NUM_TERMS + num_pairs,)`): see [`StudentLosses`].
        counts (`torch.FloatTensor` of shape `(NUM_TERMS + num_pairs,)`): tokens that each sum is over, in this batch.
    """

    loss: torch.FloatTensor | None = None
    sums: torch.FloatTensor | None = None
    counts: torch.FloatTensor | None = None


class AuraTrainer(Trainer):
    r"""
    Trains an AuRA student with a Whisper encoder, text, and the base LLM as teachers.

    Everything of [`~transformers.Trainer`] works as usual (resuming, gradient accumulation, mixed precision, callbacks,
    `push_to_hub`, `torchrun`); it differs in:

    - **The teacher** is used here only: it is not in the model, the optimizer, a checkpoint or a distributed wrapper.
    - **The heads** are trained beside the student and wrapped with it for several processes, so that gradients are clipped
      and reduced together. They are saved with the optimizer state (`checkpoint-N/distillation_heads.safetensors`), never
      with the student: `save_model`, `push_to_hub` and `model.save_pretrained` write the compact repo and the processor.
    - **The loss** is normalised over the tokens of the whole optimisation step, so that neither the number of micro-batches
      nor that of processes changes it. Its terms and the cosine of each layer pair are logged; they are summed on the
      device and fetched once per log. `training_history.jsonl` in `output_dir` keeps every log.
    - **Half-precision students** (bfloat16, float16): the trained weights are kept in float32 during training, where small
      updates would be rounded away; checkpoints hold them so, `save_model` and `push_to_hub` write the student's own dtype.
    - **Distillation-only steps** run the student only as deep as its deepest pair and only up to the last audio position: not at all
      where layer -1, the patch embedding, is all that learns.
    - **A learning rate of 0** freezes its part (LoRA or patch embedding), which then takes no time.

    Args:
        model ([`AuraForSpeechQA`]): the student.
        teacher ([`AuraTeacher`], *optional*): needed unless `args.supervision="transcript"`. `AuraTeacher.from_random` is
            the control that tells what distillation is worth.
        args ([`AuraTrainingArguments`]): the arguments.
        data_collator ([`AuraDataCollator`], *optional*): made from `args` and `processing_class` by default.
        train_dataset, eval_dataset: rows as [`AuraDataCollator`] takes them: lists of dicts, `datasets.Dataset`, ... For
            evaluation also a dict of several.
        processing_class ([`AuraProcessor`]): of the student.
        callbacks (`list` of [`~transformers.TrainerCallback`], *optional*): further callbacks.
        optimizers (`tuple`, *optional*): as in [`~transformers.Trainer`].
        context_texts (`Sequence[str]`, *optional*): texts for `args.context_probability`.
        augmentation ([`WaveformAugmentation`], *optional*): rooms, microphones and noise for the student's ears.

    Attributes:
        heads ([`DistillationHeads`] or `None`): the heads, trained so far.

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
    ) -> None:
        args = AuraTrainingArguments("aura_student") if args is None else args
        if not isinstance(model, AuraForSpeechQA):
            raise TypeError(f"AuraTrainer trains an AuraForSpeechQA, got {type(model).__name__}.")
        if not isinstance(args, AuraTrainingArguments):
            raise TypeError(f"AuraTrainer needs AuraTrainingArguments, got {type(args).__name__}.")
        if processing_class is None and data_collator is not None:
            processing_class = data_collator.processor
        if processing_class is None:
            raise ValueError("Pass the student's processor as `processing_class=` (an AuraProcessor).")
        _check_fit(model, processing_class, teacher, args)
        keep_text_only_rows = model.config.lora_scope == "always"
        if data_collator is None:
            data_collator = AuraDataCollator(
                processing_class,
                keep_text_only_rows=keep_text_only_rows,
                labels_required=args.uses_language_modeling or args.uses_ctc or args.uses_subword_ctc,
                return_waveforms=args.uses_distillation,
                return_gold_prompts=args.uses_answer_kl,
                max_length=args.max_length,
                pad_to_multiple_of=args.pad_to_multiple_of,
                random_gain_db=args.random_gain_db,
                context_texts=context_texts,
                context_probability=args.context_probability,
                context_max_words=args.context_max_words,
                augmentation=augmentation,
                return_transcript_symbols=args.uses_ctc,
                return_transcript_tokens=args.uses_subword_ctc,
            )
        _check_collator(data_collator, args)
        if not keep_text_only_rows:
            train_dataset = _without_text_only_rows(train_dataset)
        self._student_dtype = model.dtype
        for name, parameter in model.named_parameters():
            if parameter.requires_grad and _learning_rates(args)[_part(name)] == 0:
                parameter.requires_grad_(False)
            if parameter.requires_grad:
                parameter.data = parameter.data.float()
        super().__init__(
            model=model,
            args=args,
            data_collator=data_collator,
            train_dataset=train_dataset,
            eval_dataset=eval_dataset,
            processing_class=processing_class,
            callbacks=callbacks,
            optimizers=optimizers,
        )
        if self.args.n_gpu > 1:
            raise ValueError(
                f"{self.args.n_gpu} GPUs are visible to one process, which would use `nn.DataParallel`. Start one process "
                "per GPU with `torchrun --nproc_per_node ...`, or set CUDA_VISIBLE_DEVICES to one of them."
            )
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            raise ValueError(
                "AuraTrainer runs on one process or with DDP (`torchrun`); FSDP and DeepSpeed are not supported."
            )
        self.heads: DistillationHeads | None = None
        self.targets: TeacherTargets | None = None
        if args.uses_distillation and teacher is not None:
            self.heads = DistillationHeads(
                map_layers(
                    args.parsed_layer_mapping,
                    num_student_layers=model.config.lora_num_layers,
                    num_teacher_layers=teacher.num_layers,
                    num_decoder_layers=model.config.text_config.num_hidden_layers,
                ),
                model.config.text_config.hidden_size,
                teacher.width,
                args.teacher_normalization,
                seed=args.seed,
            ).to(args.device)
            self.targets = TeacherTargets(
                teacher.to(args.device),
                self.heads.teacher_layers,
                model.config.audio_config.frames_per_token,
                args.time_alignment,
                args.teacher_cache_dir,
            )
        self.transcript_heads: TranscriptHeads | None = None
        if args.uses_ctc:
            num_layers = model.config.text_config.num_hidden_layers
            if max(args.parsed_character_ctc_layers) > num_layers:
                raise ValueError(
                    f"`character_ctc_layers={args.character_ctc_layers}`: the LLM has {num_layers} layers."
                )
            self.transcript_heads = TranscriptHeads(
                args.parsed_character_ctc_layers, model.config.text_config.hidden_size, seed=args.seed
            ).to(args.device)
        if model.model.character_ctc_head is not None:
            self._go_on_with_character_ctc_head(model, model.model.character_ctc_head)
        self.subword_ctc_head: SubwordCTCHead | None = None
        token_layer = model.config.lora_num_layers if args.subword_ctc_layer is None else args.subword_ctc_layer
        text_state_layers = args.parsed_text_state_layers or [token_layer]
        if args.uses_subword_ctc:
            num_layers = model.config.text_config.num_hidden_layers
            if max(token_layer, *text_state_layers) > num_layers:
                raise ValueError(
                    f"`subword_ctc_layer={token_layer}`, `text_state_layers={text_state_layers}`: the LLM has {num_layers} layers."
                )
            self.subword_ctc_head = self._subword_ctc_head(model, token_layer).to(args.device)
        elif model.model.subword_ctc_head is not None:
            logger.warning(
                "This run has no CTC on tokens (`subword_ctc_weight` above 0), so it would leave the student's token head behind: the head is "
                "taken out, and the LLM alone will write the student's transcripts."
            )
            model.detach_heads()
        self.losses = StudentLosses(
            model,
            self.heads,
            args.answer_kl_temperature,
            self.transcript_heads,
            args.pad_to_multiple_of,
            self.subword_ctc_head,
            token_layer,
            text_state_layers if args.uses_text_states else (),
            # These gather a layer's weights around each of its calls, of which there would be two.
            share_prompt=not (self.is_fsdp_enabled or self.is_deepspeed_enabled),
        ).to(args.device)
        # Wrapped for training in place of the bare student; see `_wrap_model`.
        self.model_wrapped = self.losses
        self._log = _LogAccumulator(len(_TERMS) + self.losses.num_pairs, args.device)
        self.current_gradient_accumulation_steps = 1
        self.add_callback(_EpochCallback(self))
        if self.pop_callback(ProgressCallback) is not None:
            self.add_callback(_CompactProgressCallback())

    def _go_on_with_character_ctc_head(self, model: AuraForSpeechQA, head: CharacterCTCHead) -> None:
        if self.transcript_heads is not None and self.transcript_heads.of_patch_embedding is not None:
            self.transcript_heads.go_on_with(head)
            return
        logger.warning(
            "This run has no CTC on the letters of the patch embedding (`character_ctc_weight` above 0, 0 among `character_ctc_layers`), so it would leave the "
            "student's letter head behind: the head is taken out, and transcripts are written without it."
        )
        model.detach_character_ctc_head()

    def _subword_ctc_head(self, model: AuraForSpeechQA, layer: int) -> SubwordCTCHead:
        """The student's own, if its repo holds one."""
        if model.model.subword_ctc_head is None:
            return SubwordCTCHead(model.config.text_config.hidden_size)
        if model.config.subword_ctc_layer != layer:
            raise ValueError(
                f"`subword_ctc_layer={layer}`, but the student's token head reads depth {model.config.subword_ctc_layer}. Train it there, or "
                "call `student.detach_heads()` first."
            )
        return model.model.subword_ctc_head

    # ---- what is learnt ----

    @property
    def loss_weights(self) -> dict[str, float]:
        """Weight of each term of the loss."""
        args = self.args
        weights_in_use = (
            (args.cosine_weight, args.uses_distillation),
            (args.mse_weight, args.uses_distillation),
            (args.lm_weight, args.uses_language_modeling),
            (args.answer_kl_weight, args.uses_answer_kl),
            (args.character_ctc_weight, args.uses_ctc),
            (args.subword_ctc_weight, args.uses_subword_ctc),
            (args.text_state_weight, args.uses_text_states),
        )
        return {name: value if used else 0.0 for name, (value, used) in zip(_TERMS, weights_in_use, strict=True)}

    def _terms(self, training: bool) -> Terms:
        warming_up = training and self.state.global_step < self.args.distillation_warmup_steps
        return Terms(
            distillation=self.args.uses_distillation,
            language_modeling=self.args.uses_language_modeling and not warming_up,
            answer_kl=self.args.uses_answer_kl and not warming_up,
            ctc=self.args.uses_ctc,
            subword_ctc=self.args.uses_subword_ctc,
            text_states=self.args.uses_text_states,
        )

    def _token_counts(self, batch: Mapping[str, Any]) -> torch.Tensor:
        """Tokens that each sum of [`StudentLosses`] is over, `(NUM_TERMS + num_pairs,)`, float32, without a device sync."""
        audio_tokens = batch["input_ids"].eq(self.model.config.audio_token_id).sum()
        label_tokens = batch["labels"][:, 1:].ne(IGNORED_LABEL).sum()
        kl_tokens = batch["answer_kl_mask"].sum() if "answer_kl_mask" in batch else torch.zeros_like(label_tokens)
        none = torch.zeros_like(label_tokens)
        characters = batch["transcript_lengths"].sum() if "transcript_lengths" in batch else none
        tokens = batch["transcript_token_lengths"].sum() if "transcript_token_lengths" in batch else none
        pairs = [audio_tokens] * self.losses.num_pairs
        counts = [audio_tokens, audio_tokens, label_tokens, kl_tokens, characters, tokens, tokens, *pairs]
        return torch.stack(counts).float()

    def get_batch_samples(
        self, epoch_iterator: Iterator, num_batches: int, device: torch.device
    ) -> tuple[list, torch.Tensor | None]:
        """The micro-batches of one optimisation step, and its tokens over all of them and all processes."""
        batch_samples = list(islice(epoch_iterator, num_batches))
        if not batch_samples:
            return batch_samples, None
        counts = torch.stack([self._token_counts(batch) for batch in batch_samples]).sum(dim=0).to(device)
        return batch_samples, self.accelerator.reduce(counts, "sum")

    def _sums(self, module: nn.Module, batch: Mapping[str, Any], terms: Terms) -> torch.Tensor:
        batch = dict(batch)
        waveforms = batch.pop("waveforms", [])
        targets = self.targets(waveforms) if terms.distillation and self.targets is not None and waveforms else None
        return module(terms, **batch, targets=targets)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | None = None,
    ) -> Any:
        """See [`~transformers.Trainer.compute_loss`]; `num_items_in_batch` holds one count for each sum."""
        terms = self._terms(training=True)
        sums = self._sums(model, inputs, terms)
        counts = self._token_counts(inputs) if num_items_in_batch is None else num_items_in_batch
        values = sums / counts.clamp(min=1)
        weights = values.new_tensor(list(self.loss_weights.values()))
        # Processes average their gradients, but the sums are normalised over all of them.
        loss = (weights * values[: len(_TERMS)]).sum() * self.accelerator.num_processes
        is_used = [terms.distillation] * 2
        is_used += [terms.language_modeling, terms.answer_kl, terms.ctc, terms.subword_ctc, terms.text_states]
        is_used += [terms.distillation] * self.losses.num_pairs
        self._log.add(values.detach(), counts, is_used, self.current_gradient_accumulation_steps)
        return (loss, AuraTrainingOutput(loss, sums, counts)) if return_outputs else loss

    # ---- optimizer, wrapping ----

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
        rates = _learning_rates(self.args)
        groups: dict[tuple[Part, bool], list[nn.Parameter]] = {}
        for name, parameter in self.losses.named_parameters():
            if parameter.requires_grad:
                # Norm gains and biases are vectors, which weight decay should not pull to zero.
                groups.setdefault((_part(name), parameter.ndim > 1), []).append(parameter)
        self.optimizer = optimizer_class(
            [
                {"params": parameters, "lr": rates[part], "weight_decay": self.args.weight_decay if has_decay else 0.0}
                for (part, has_decay), parameters in groups.items()
            ],
            **optimizer_kwargs,
        )
        return self.optimizer

    def _wrap_model(self, model: nn.Module, training: bool = True, dataloader: DataLoader | None = None) -> nn.Module:
        """Prepare [`StudentLosses`] (mixed precision, DDP) where the stock Trainer prepares the bare model."""
        if self.accelerator.unwrap_model(model, keep_torch_compile=False) is not model:
            return model
        return self.accelerator.prepare_model(self.losses, evaluation_mode=not training)

    # ---- data ----

    def get_train_dataloader(self) -> DataLoader:
        """The data loader, over rows that carry the seed of their augmentation."""
        dataset = self.train_dataset
        if dataset is None:
            raise ValueError("Training needs `train_dataset`.")
        numbered = NumberedRows if has_length(dataset) else NumberedStream
        self.train_dataset = numbered(dataset, self.args.seed)
        try:
            loader = super().get_train_dataloader()
            self._numbered_rows = self.train_dataset
        finally:
            self.train_dataset = dataset
        return loader

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        dataset = self.train_dataset if train_dataset is None else train_dataset
        if self.args.train_sampling_strategy != "group_by_length" or not isinstance(dataset, NumberedRows):
            return super()._get_train_sampler(train_dataset)
        step_size = self.args.train_batch_size * self.args.world_size * self.args.gradient_accumulation_steps
        return LengthGroupedBatches(dataset, step_size)

    @property
    def eval_collator(self) -> AuraDataCollator:
        """The data collator without augmentation."""
        return replace(self.data_collator, random_gain_db=0.0, context_probability=0.0, augmentation=None)

    def get_test_dataloader(self, test_dataset: Any) -> DataLoader:
        """As for evaluation."""
        return self.get_eval_dataloader(test_dataset)

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader:
        """A data loader without augmentation; each process reads every n-th row, so that no row counts twice."""
        if isinstance(eval_dataset, str):
            eval_dataset = self.eval_dataset[eval_dataset]
        dataset = self.eval_dataset if eval_dataset is None else eval_dataset
        if dataset is None:
            raise ValueError("Evaluation needs `eval_dataset`.")
        if not has_length(dataset):
            raise TypeError("`eval_dataset` must have a length; an iterable cannot be divided among processes.")
        if self.data_collator.keep_text_only_rows is False:
            dataset = _without_text_only_rows(dataset)
        own = range(self.args.process_index, len(dataset), self.args.world_size)
        return DataLoader(
            Subset(dataset, own),
            batch_size=self.args.per_device_eval_batch_size,
            collate_fn=self.eval_collator,
            num_workers=self.args.dataloader_num_workers,
        )

    # ---- statistics of the teacher's states ----

    def _ensure_statistics(self) -> None:
        """Estimate mean and deviation of the teacher's states over the first training clips, once."""
        if self.heads is None or not self.heads.needs_statistics or self.targets is None:
            return
        source = self.train_dataset if self.train_dataset is not None else self.eval_dataset
        statistics = TeacherStatistics(len(self.heads.teacher_layers), self.heads.teacher_width)
        batch: list = []
        clips = islice(self._clips(source), self.args.normalization_clips)
        progress = tqdm(
            clips,
            total=self.args.normalization_clips,
            desc="Teacher statistics",
            unit="clip",
            disable=self.args.disable_tqdm or not self.is_world_process_zero(),
            leave=False,
        )
        for waveform in progress:
            batch.append(waveform)
            if len(batch) == self.args.per_device_train_batch_size:
                statistics.update(self.targets(batch))
                batch = []
        if batch:
            statistics.update(self.targets(batch))
        if not statistics.count:
            raise ValueError(
                "The training data holds no audio, so there is nothing to distil. Is `audio` None in every row?"
            )
        self.heads.set_statistics(statistics)
        if self.args.world_size > 1:
            for buffer in (self.heads.target_mean, self.heads.target_std):
                torch.distributed.broadcast(buffer, src=0)

    def _clips(self, source: Any) -> Iterator[Any]:
        if isinstance(source, dict):
            source = next(iter(source.values()))
        rows: Iterable = (source[index] for index in range(len(source))) if has_length(source) else source
        for row in rows:
            waveform = self.data_collator.load_waveform(row)
            if waveform is not None:
                yield waveform

    def train(self, resume_from_checkpoint: str | bool | None = None, *args: Any, **kwargs: Any) -> Any:
        """See [`~transformers.Trainer.train`]; `resume_from_checkpoint=True` takes the last *complete* checkpoint."""
        if not resume_from_checkpoint:
            self._ensure_statistics()
        elif resume_from_checkpoint is True:
            resume_from_checkpoint = last_complete_checkpoint(self.args.output_dir)
            if resume_from_checkpoint is None:
                raise ValueError(
                    f"There is no complete checkpoint in {self.args.output_dir} to go on from. Train without "
                    "`resume_from_checkpoint` to begin anew."
                )
        return super().train(resume_from_checkpoint, *args, **kwargs)

    # ---- evaluation ----

    def evaluation_loop(
        self,
        dataloader: DataLoader,
        description: str,
        prediction_loss_only: bool | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> EvalLoopOutput:
        """All terms of the loss over a whole dataset, each token counting once whatever the batches and processes."""
        self._ensure_statistics()
        self.losses.eval()
        self.callback_handler.eval_dataloader = dataloader
        terms = self._terms(training=False)
        sums = torch.zeros(len(_TERMS) + self.losses.num_pairs, device=self.args.device)
        counts = torch.zeros_like(sums)
        with torch.no_grad(), self.accelerator.autocast():
            for batch in dataloader:
                batch = self._prepare_inputs(batch)
                sums += self._sums(self.losses, batch, terms)
                counts += self._token_counts(batch)
                self.control = self.callback_handler.on_prediction_step(self.args, self.state, self.control)
        sums, counts = self.accelerator.reduce(torch.stack([sums, counts]), "sum")
        means = self._named((sums / counts.clamp(min=1)).tolist(), counts.tolist())
        weights = self.loss_weights
        means["loss"] = sum(weight * means.get(name, 0.0) for name, weight in weights.items())
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in means.items()}
        num_samples = int(
            self.accelerator.reduce(torch.tensor(len(dataloader.dataset), device=self.args.device), "sum")
        )
        return EvalLoopOutput(predictions=None, label_ids=None, metrics=metrics, num_samples=num_samples)

    # ---- logging ----

    def _named(self, values: Sequence[float], counts: Sequence[float]) -> dict[str, float]:
        """Names for the terms that were computed, and the cosine similarity of each pair."""
        weights = self.loss_weights
        named = {
            name: value
            for name, value, count in zip(_TERMS, values, counts, strict=False)
            if count > 0 and weights[name] > 0
        }
        if self.heads is not None and counts[0] > 0:
            named["cosine"] = 1.0 - values[0]
            for (student, teacher), value in zip(self.heads.pairs, values[len(_TERMS) :], strict=True):
                named[f"cosine/student_{student}_teacher_{teacher}"] = 1.0 - value
        return named

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """See [`~transformers.Trainer.log`]; adds the terms of the loss, and keeps every log in `output_dir`."""
        if "loss" in logs:
            logs.update(self._named(*self._log.fetch(self.accelerator)))
        super().log(logs, start_time)
        if self.is_world_process_zero():
            with open(self._history_path, "a", encoding="utf-8") as file:
                file.write(json.dumps(self.state.log_history[-1]) + "\n")

    @property
    def _history_path(self) -> Path:
        return Path(self.args.output_dir) / HISTORY_FILE_NAME

    # ---- checkpoints ----

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        """Checkpoints hold the weights as they are trained; anything else is the student in its own dtype."""
        folder = Path(self.args.output_dir if output_dir is None else output_dir)
        if state_dict is None and not folder.name.startswith(PREFIX_CHECKPOINT_DIR):
            self._keep_heads()
            state_dict = {
                name: tensor.to(self._student_dtype) if tensor.is_floating_point() else tensor
                for name, tensor in self.model.state_dict().items()
                if is_adapter_key(name)
            }
        super()._save(str(folder), state_dict=state_dict)
        if self.args.should_save:  # a pickle, which nothing reads
            (folder / TRAINING_ARGS_NAME).unlink(missing_ok=True)

    def _keep_heads(self) -> None:
        """Makes the trained token head, and the letter head if there is one, a part of the student, if the arguments say so."""
        if self.subword_ctc_head is None or not self.args.keep_subword_ctc_head:
            return
        processor = self.processing_class
        self.model.attach_subword_ctc_head(
            self.subword_ctc_head,
            self.losses.token_layer,
            transcription_prompt=processor.prompt_behind_audio(TRANSCRIPTION_INSTRUCTION),
            spoken_question_prompt=processor.prompt_behind_audio(),
        )
        if self.transcript_heads is not None and self.transcript_heads.of_patch_embedding is not None:
            self.model.attach_character_ctc_head(self.transcript_heads.of_patch_embedding, processor.tokenizer)
        self.model.config.answers_from_transcript = self.args.answers_from_transcript
        by_ear = self.args.questions_by_ear
        self.model.config.questions_by_ear = (
            None if by_ear is None else [processor.beginning_behind_audio(question) for question in by_ear]
        )

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        """The heads belong to the state of the training, not to the student."""
        super()._save_optimizer_and_scheduler(output_dir)
        if self.heads is not None and self.args.should_save:
            self.heads.save(Path(output_dir) / HEADS_FILE_NAME)
        if self.transcript_heads is not None and self.args.should_save:
            self.transcript_heads.save(Path(output_dir) / TRANSCRIPT_HEADS_FILE_NAME)
        if self.subword_ctc_head is not None and self.args.should_save:
            self.subword_ctc_head.save(Path(output_dir) / SUBWORD_CTC_HEAD_FILE_NAME)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        """Load the student's trained weights and the heads; anything missing or misfitting is an error."""
        folder = Path(resume_from_checkpoint)
        missing = _missing_from_checkpoint(folder)
        if missing:
            raise FileNotFoundError(
                f"{folder} lacks {', '.join(missing)}: it is not a training checkpoint, or writing it was interrupted. Resume "
                "from an earlier `checkpoint-N` folder, or with `resume_from_checkpoint=True` from the last complete one."
            )
        load_adapter_weights(self.model, folder / SAFE_WEIGHTS_NAME)
        self.load_heads(folder, may_lack_subword_ctc_head=False)

    def load_heads(self, checkpoint: str | Path, may_lack_subword_ctc_head: bool = True) -> None:
        """Take over the heads of a training checkpoint, as a further stage of training does that goes on from its student.

        The head that reads tokens begins anew where the earlier stage had none; `may_lack_subword_ctc_head=False` makes that an error.

        Raises:
            FileNotFoundError, ValueError: the checkpoint has no heads, or those of other layers or another teacher.
        """
        if self.heads is not None:
            self.heads.load_from(Path(checkpoint) / HEADS_FILE_NAME)
        if self.transcript_heads is not None:
            self.transcript_heads.load_from(Path(checkpoint) / TRANSCRIPT_HEADS_FILE_NAME)
        subword_ctc_head = Path(checkpoint) / SUBWORD_CTC_HEAD_FILE_NAME
        if self.subword_ctc_head is not None and (subword_ctc_head.is_file() or not may_lack_subword_ctc_head):
            self.subword_ctc_head.load_from(subword_ctc_head)

    def _load_best_model(self) -> None:
        logger.info(f"Loading the best model from {self.state.best_model_checkpoint} ({self.state.best_metric}).")
        folder = Path(str(self.state.best_model_checkpoint))
        load_adapter_weights(self.model, folder / SAFE_WEIGHTS_NAME)
        if self.heads is not None and (folder / HEADS_FILE_NAME).is_file():
            self.heads.load_from(folder / HEADS_FILE_NAME)

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Keep a model card that is there already; else write the Trainer's."""
        if not (Path(self.args.output_dir) / "README.md").exists():
            super().create_model_card(*args, **kwargs)


class _LogAccumulator:
    """Means over the steps since the last log, on the device, fetched with one transfer."""

    def __init__(self, size: int, device: torch.device) -> None:
        self._totals = torch.zeros(2, size, device=device)

    def add(self, values: torch.Tensor, counts: torch.Tensor, is_used: Sequence[bool], num_micro_batches: int) -> None:
        """Add the share of one micro-batch in its step: `values` (normalised over the step) and whether they were there."""
        used = torch.tensor(is_used, device=values.device) & (counts > 0)
        self._totals += torch.stack([values, used.float() / num_micro_batches])

    def fetch(self, accelerator: Any) -> tuple[list[float], list[float]]:
        """Mean of each value over the steps that had it, over all processes; and the number of those steps."""
        totals, steps = accelerator.reduce(self._totals, "sum")
        steps = steps / accelerator.num_processes
        result = (totals / steps.clamp(min=1e-9)).tolist(), steps.tolist()
        self._totals = torch.zeros_like(self._totals)
        return result


class _EpochCallback(TrainerCallback):
    """Tells the rows which epoch begins, and starts the history file."""

    def __init__(self, trainer: AuraTrainer) -> None:
        self._trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            path = self._trainer._history_path
            path.parent.mkdir(parents=True, exist_ok=True)
            # After a resume the history is that of the checkpoint.
            path.write_text("".join(json.dumps(entry) + "\n" for entry in state.log_history), encoding="utf-8")

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._trainer._numbered_rows.set_epoch(math.floor(state.epoch or 0.0))


class _CompactProgressCallback(ProgressCallback):
    """The stock progress bar, without a number for each layer pair."""

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        shown = {name: value for name, value in (logs or {}).items() if "cosine/" not in name}
        super().on_log(args, state, control, logs=shown, **kwargs)


# The last one is written last.
_CHECKPOINT_FILES = (SAFE_WEIGHTS_NAME, OPTIMIZER_NAME, SCHEDULER_NAME, TRAINER_STATE_NAME)


def _missing_from_checkpoint(folder: Path) -> list[str]:
    missing = [name for name in _CHECKPOINT_FILES if not (folder / name).is_file()]
    if not missing:
        try:
            json.loads((folder / TRAINER_STATE_NAME).read_text(encoding="utf-8"))
        except ValueError:
            return [f"a whole {TRAINER_STATE_NAME}"]
    return missing


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


def _part(name: str) -> Part:
    """Whose learning rate a parameter of [`StudentLosses`] or of the student has."""
    if (
        name.startswith(("heads.", "transcript_heads."))
        or "subword_ctc_head." in name
        or "character_ctc_head." in name
    ):
        return "heads"
    return "audio_embedding" if ".embed_audio." in name else "lora"


def _learning_rates(args: AuraTrainingArguments) -> dict[Part, float]:
    """The learning rate of each part."""

    def either(value: float | None) -> float:
        return args.learning_rate if value is None else value

    return {
        "lora": args.learning_rate,
        "audio_embedding": either(args.audio_embedding_learning_rate),
        "heads": either(args.heads_learning_rate),
    }


def _without_text_only_rows(dataset: Any) -> Any:
    """Leave text-only rows out where that needs no decoding; the collator leaves out the others."""
    if not isinstance(dataset, (list, tuple)):
        return dataset
    kept = [row for row in dataset if row.get("audio") is not None]
    if len(kept) < len(dataset):
        logger.warning(
            f"{len(dataset) - len(kept)} of {len(dataset)} rows are text only and are skipped: where LoRA follows the audio "
            "(`lora_scope` 'rows' or 'audio') the student's text path is the base LLM and such rows have no gradient. They "
            "teach only with `lora_scope='always'`."
        )
    return kept


def _check_collator(data_collator: AuraDataCollator, args: AuraTrainingArguments) -> None:
    """Raise where a collator leaves out what a loss needs."""
    for weight, is_used, setting in (
        ("character_ctc_weight", args.uses_ctc, "return_transcript_symbols"),
        ("subword_ctc_weight", args.uses_subword_ctc, "return_transcript_tokens"),
    ):
        if is_used and not getattr(data_collator, setting, True):
            raise ValueError(
                f"`{weight}={getattr(args, weight)}` needs a data collator with `{setting}=True` (or none: the trainer makes its own)."
            )


def _check_fit(
    model: AuraForSpeechQA, processor: AuraProcessor, teacher: AuraTeacher | None, args: AuraTrainingArguments
) -> None:
    """Raise where student, processor, teacher and arguments do not belong together."""
    audio_config = model.config.audio_config
    rates = _learning_rates(args)
    if not any(parameter.requires_grad and rates[_part(name)] > 0 for name, parameter in model.named_parameters()):
        raise ValueError(
            "The student has no trainable parameters: it is frozen, a merged checkpoint without LoRA, or its learning rates are 0."
        )
    if processor.frames_per_token != audio_config.frames_per_token:
        raise ValueError(
            f"The processor makes one audio token of {processor.frames_per_token} frames, the student of "
            f"{audio_config.frames_per_token}. Use the processor that belongs to the student."
        )
    if not args.uses_distillation:
        return
    if teacher is None:
        raise ValueError(
            f"`supervision={args.supervision!r}` needs a `teacher`, for instance "
            "`AuraTeacher.from_pretrained('openai/whisper-large-v3')`. Without one, use `supervision='transcript'`."
        )
    if audio_config.frames_per_second != 100 or audio_config.sampling_rate != 16000:
        raise ValueError(
            f"A Whisper teacher hears 100 frames a second at 16000 Hz, the student {audio_config.frames_per_second:g} at "
            f"{audio_config.sampling_rate} Hz: their clocks do not align."
        )
