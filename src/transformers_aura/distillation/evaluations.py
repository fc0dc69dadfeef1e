"""A trainer's evaluations: all terms of the loss over a dataset, and what the student answers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch.utils.data import DataLoader
from transformers import EvalPrediction, Trainer
from transformers.trainer_utils import EvalLoopOutput, SaveStrategy, has_length

from .answers import AskedRow, answer_prompts
from .collator import AuraDataCollator
from .forward_pass import ForwardPass
from .preparation import without_text_only_rows
from .rows import ChosenRows
from .sample_answers import write_samples
from .training_args import AuraTrainingArguments


class EvaluatedTrainer(Trainer):
    """A `Trainer` whose evaluations count each token once, and whose predictions are texts; how a batch is computed is that of [`AuraTrainer`]."""

    args: AuraTrainingArguments
    data_collator: AuraDataCollator
    forward_pass: ForwardPass

    @property
    def eval_collator(self) -> AuraDataCollator:
        """The data collator without augmentation, and with the prompts of what is answered."""
        columns = (*self.data_collator.columns, answer_prompts)
        return replace(
            self.data_collator, columns=columns, random_gain_db=0.0, context_probability=0.0, augmentation=None
        )

    def _determine_best_metric(self, metrics: dict[str, float], trial: Any) -> bool:
        """As always, but of two evaluations that are as good the later one counts: it has learnt for longer."""
        best = self.state.best_metric
        if super()._determine_best_metric(metrics, trial):
            return True
        name = self.args.metric_for_best_model
        if name is None or metrics[f"eval_{name.removeprefix('eval_')}"] != best:
            return False
        if self.args.save_strategy != SaveStrategy.NO:
            self.state.best_global_step = self.state.global_step
        return True

    def get_test_dataloader(self, test_dataset: Any) -> DataLoader:
        """As for evaluation."""
        return self.get_eval_dataloader(test_dataset)

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader:
        """A data loader without augmentation; each process reads every n-th row, so that no row counts twice, or all rows where the base LLM is sharded: then
        all of them run the same layers, however long an answer becomes.
        """
        if isinstance(eval_dataset, str):
            eval_dataset = self.eval_dataset[eval_dataset]
        dataset = self.eval_dataset if eval_dataset is None else eval_dataset
        if dataset is None:
            raise ValueError("Evaluation needs `eval_dataset`.")
        if not has_length(dataset):
            raise TypeError("`eval_dataset` must have a length; an iterable cannot be divided among processes.")
        if self.data_collator.keep_text_only_rows is False:
            dataset = without_text_only_rows(dataset)
        order: Sequence[int] = range(len(dataset))
        if (seconds := getattr(dataset, "seconds", None)) is not None:
            order = sorted(order, key=seconds.__getitem__)  # batches of one length: little is padded
        own = order if self.args.sharding else order[self.args.process_index :: self.args.world_size]
        return DataLoader(
            ChosenRows(dataset, own),
            batch_size=self.args.per_device_eval_batch_size,
            collate_fn=self.eval_collator,
            num_workers=self.args.dataloader_num_workers,
            pin_memory=self.args.dataloader_pin_memory,
            prefetch_factor=self.args.dataloader_prefetch_factor,
            multiprocessing_context=self.args.dataloader_multiprocessing_context,
        )

    def evaluation_loop(
        self,
        dataloader: DataLoader,
        description: str,
        prediction_loss_only: bool | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> EvalLoopOutput:
        """All terms of the loss over a whole dataset, each token counting once whatever the batches and processes; and what the student answers, unless
        `prediction_loss_only` holds: `predictions` and `label_ids` are texts then, in the order of the dataset, `metrics` has those of `compute_metrics`.
        """
        if prediction_loss_only is None:
            prediction_loss_only = self.args.prediction_loss_only
        self._ensure_statistics()
        self.forward_pass.eval()
        self.callback_handler.eval_dataloader = dataloader
        names = self._active(training=False)
        sums = torch.zeros(len(self.forward_pass.figure_names), device=self.args.device)
        counts = torch.zeros_like(sums)
        answered: list[tuple[AskedRow, str | None, str]] = []
        with torch.no_grad(), self.accelerator.autocast():
            for batch in dataloader:
                batch = self._prepare_inputs(batch)
                batch |= self._student_columns(batch, names, seed=None)
                if not prediction_loss_only and batch["asked"]:
                    texts = self.forward_pass.answer(self.processing_class, batch, self.args.generation_max_new_tokens)
                    answered += zip(batch["asked"], batch["expected"], texts, strict=True)
                sums += self._sums(self.forward_pass, batch, names)
                counts += self.forward_pass.counts(batch)
                self.control = self.callback_handler.on_prediction_step(self.args, self.state, self.control)
        # Where the base LLM is sharded, each process has read all rows.
        reduction = "mean" if self.args.sharding else "sum"
        sums, counts = self.accelerator.reduce(torch.stack([sums, counts]), reduction)
        means = self._named((sums / counts.clamp(min=1)).tolist(), counts.tolist())
        means["loss"] = sum(weight * means.get(name, 0.0) for name, weight in self.loss_weights.items())
        if self.is_in_train and not math.isfinite(means["loss"]):
            step, terms = self.state.global_step, [name for name, value in means.items() if not math.isfinite(value)]
            raise self.diverged(f"in the evaluation after step {step} these are not finite: {', '.join(terms)}.", step)
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in means.items()}
        num_rows = torch.tensor(float(len(dataloader.dataset)), device=self.args.device)
        num_samples = round(float(self.accelerator.reduce(num_rows, reduction)))
        if prediction_loss_only:
            return EvalLoopOutput(predictions=None, label_ids=None, metrics=metrics, num_samples=num_samples)
        prediction = self._in_order(answered)
        if self.compute_metrics is not None and len(prediction.predictions):
            figures = self.compute_metrics(prediction)
            metrics |= {f"{metric_key_prefix}_{name}": value for name, value in figures.items()}
        if self.is_in_train and self.args.should_save:
            write_samples(self.args, self.state.global_step, metric_key_prefix, prediction)
        return EvalLoopOutput(prediction.predictions, prediction.label_ids, metrics, num_samples)

    def _in_order(self, answered: list[tuple[AskedRow, str | None, str]]) -> EvalPrediction:
        """The answers of all processes, in the order of the dataset."""
        shares = [answered]
        if self.args.world_size > 1 and not self.args.sharding:
            shares = shares * self.args.world_size
            torch.distributed.all_gather_object(shares, answered)
        everything = sorted((each for share in shares for each in share), key=lambda each: each[0]["row"] or 0)
        return EvalPrediction(
            predictions=[text for _, _, text in everything],
            label_ids=[expected for _, expected, _ in everything],
            inputs=[asked for asked, _, _ in everything],
        )
