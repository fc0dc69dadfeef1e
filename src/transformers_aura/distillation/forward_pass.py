"""One forward pass of the student that serves all objectives: the module that the trainer runs, and wraps for several processes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn
from transformers import Cache, DynamicCache

from ..modeling.cache_argument import CACHE_ARGUMENT
from ..modeling.modeling_aura import AuraForSpeechQA
from ..processing.processing_aura import AuraProcessor
from .answers import answer_rows
from .heads import DistillationHeads
from .objectives import Objective
from .student_outputs import StudentOutputs


FEWEST_SHARED_TOKENS = 8
"""A shorter prompt is not worth a pass of its own."""

_INPUTS = ("input_ids", "attention_mask", "input_features", "input_features_mask")


class ForwardPass(nn.Module):
    """The student and its distillation heads; calling it gives the sums of all objectives.

    A module of its own so that one distributed wrapper covers all that is trained, while the student itself stays the plain
    [`AuraForSpeechQA`] that is saved, pushed and evaluated. Every trainable parameter takes part in every pass (with
    gradient 0 where a batch does not use it), so that processes with different kinds of rows stay in step.

    A pass runs the student no deeper than its objectives read, only up to the last audio position where none reads the LLM's head, and the tokens with
    which all rows of a batch begin (a system message) once.

    Where the base LLM is sharded (`keep_in_step`), all processes must run the same layers in the same order, forward and backward, whatever their rows hold.
    A process that has nothing to run takes one token through them, and each row begins for itself.

    Args:
        student: the student.
        objectives: by name; prepared.
        heads: `None` if there is no teacher.
        second_heads: those of the second teacher, if there is one.
        pad_to_multiple_of: rows that the heads and the LLM's head compute are padded to a multiple of 4 times this.

    Attributes:
        loss_names: `NAME_loss` of each objective.
        figure_names: these, then the metrics of each objective: the order of all sums and counts.
        is_in_step: every process runs the same layers in each pass.
    """

    def __init__(
        self,
        student: AuraForSpeechQA,
        objectives: Mapping[str, Objective],
        heads: DistillationHeads | None = None,
        pad_to_multiple_of: int | None = None,
        second_heads: DistillationHeads | None = None,
    ) -> None:
        super().__init__()
        self.student = student
        self.heads = heads
        self.second_heads = second_heads
        self.objectives = dict(objectives)
        self.row_multiple = 4 * (pad_to_multiple_of or 0)
        self.is_in_step = False
        self.loss_names = tuple(map(loss_name, self.objectives))
        metrics = (metric for objective in self.objectives.values() for metric in objective.metrics)
        self.figure_names = (*self.loss_names, *metrics)
        self.num_trained_layers = max(
            (
                index + 1
                for index, layer in enumerate(student.model.language_model.layers)
                if any(parameter.requires_grad for parameter in layer.parameters())
            ),
            default=0,
        )

    def keep_in_step(self) -> None:
        """From now on, run the same layers in every process."""
        self.is_in_step = True
        # Else backward would not reach the first layers where a batch is without audio and LoRA is not trained.
        self.student.model.language_model.enable_input_require_grads()

    def counts(self, batch: Mapping[str, Any]) -> torch.Tensor:
        """What each sum is to be divided by, `(figures,)`, float32, without waiting for the device."""
        counts = [objective.count(batch) for objective in self.objectives.values()]
        for objective in self.objectives.values():
            counts += objective.metric_counts(batch)
        return torch.stack(counts).float()

    def is_used(self, names: Iterable[str]) -> list[bool]:
        """For each figure whether it is of one of these objectives."""
        used = set(names)
        of_metrics = [name in used for name, objective in self.objectives.items() for _ in objective.metrics]
        return [name in used for name in self.objectives] + of_metrics

    def forward(
        self,
        names: Iterable[str],
        batch: Mapping[str, Any],
        targets: torch.Tensor | None = None,
        second_targets: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Sums over one batch, to be divided by the counts of the whole optimisation step.

        Args:
            names: the objectives to compute; the sums of others are 0.
            batch: what [`AuraDataCollator`] returns, with the columns of the objectives.
            targets (`torch.FloatTensor` of shape `(teacher_layers, audio_tokens, width)`, *optional*): teacher states at the audio
                positions in reading order.
            second_targets (*optional*): those of the second teacher.

        Returns:
            `torch.FloatTensor` of shape `(figures,)`, see `figure_names`.
        """
        active = {name: self.objectives[name] for name in names}
        num_layers = self._num_layers(active.values())
        if targets is None:
            active = {name: objective for name, objective in active.items() if not objective.needs_teacher}
        if second_targets is None:
            active = {name: objective for name, objective in active.items() if not objective.needs_second_teacher}
        zero = torch.zeros((), device=batch["input_ids"].device)
        sums = dict.fromkeys(self.figure_names, zero)
        outputs = self._run(active.values(), num_layers, batch, targets, second_targets)
        states = self._states_in_step(num_layers, outputs)
        if outputs is not None or self.is_in_step:
            base_states = {
                each.base_reads: self._base_states(each, batch) for each in active.values() if each.base_reads
            }
        if outputs is not None:
            outputs.base_states = base_states
            for name, objective in active.items():
                sums[loss_name(name)] = objective.loss(outputs)
                sums |= zip(objective.metrics, objective.metric_sums(outputs), strict=True)
        first = self.figure_names[0]
        if outputs is None or self._leaves_parameters_out(active, num_layers, outputs):
            sums[first] = sums[first] + sum(0.0 * p.reshape(-1)[0] for p in self.parameters() if p.requires_grad)
        if states is not None:  # backward goes through all layers, whatever the loss reads
            sums[first] = sums[first] + 0.0 * states[0, 0].sum()
        return torch.stack(list(sums.values()))

    def answer(self, processor: AuraProcessor, batch: Mapping[str, Any], max_new_tokens: int) -> list[str]:
        """See [`answer_rows`]. Where the base LLM is sharded, all processes must be given the same batch."""
        return answer_rows(self.student, processor, batch, max_new_tokens)

    def _num_layers(self, objectives: Iterable[Objective]) -> int:
        """Decoder layers that a pass for these objectives needs."""
        num_layers = self.student.config.text_config.num_hidden_layers
        return max(
            (num_layers if objective.needs_logits else max(objective.depths, default=0) for objective in objectives),
            default=0,
        )

    def _run(
        self,
        objectives: Iterable[Objective],
        num_layers: int,
        batch: Mapping[str, Any],
        targets: torch.Tensor | None,
        second_targets: torch.Tensor | None,
    ) -> StudentOutputs | None:
        """The student's pass; `None` where nothing is there to be run."""
        inputs = {name: batch.get(name) for name in _INPUTS}
        input_ids, attention_mask = batch["input_ids"], batch["attention_mask"]
        is_audio = input_ids == self.student.config.audio_token_id
        stop = input_ids.shape[1]
        if not any(objective.needs_logits for objective in objectives):
            # Attention is causal beyond the audio: what follows the last audio position changes nothing before it.
            stop = int(is_audio.any(dim=0).nonzero().max()) + 1 if is_audio.any() else 0
        if not len(input_ids) or not stop:
            return None
        attention_mask = attention_mask[:, :stop]
        start, cache = 0, None
        if num_layers:
            start = self._num_shared_tokens(input_ids[:, :stop], attention_mask, is_audio[:, :stop])
        if start:
            cache = self._read_prompt(input_ids[:1, :start], num_layers, repeats=len(input_ids))
        inputs |= {"input_ids": input_ids[:, start:stop], "attention_mask": attention_mask}
        outputs = self.student.model(
            **inputs,
            num_hidden_layers=num_layers,
            output_hidden_states=any(objective.depths for objective in objectives),
            use_cache=False,
            **{CACHE_ARGUMENT: cache},
        )
        return StudentOutputs(
            student=self.student,
            batch=batch,
            span=slice(start, stop),
            hidden_states=outputs.hidden_states or (),
            last_hidden_state=outputs.last_hidden_state,
            base_states={},
            heads=self.heads,
            targets=targets,
            second_heads=self.second_heads,
            second_targets=second_targets,
            row_multiple=self.row_multiple,
        )

    @torch.no_grad()
    def _base_states(self, objective: Objective, batch: Mapping[str, Any]) -> torch.Tensor:
        """What the base LLM makes of the columns that an objective names, `(rows, sequence, hidden)`."""
        input_ids = batch[f"{objective.base_reads}_input_ids"]
        attention_mask = batch[f"{objective.base_reads}_attention_mask"]
        base, depth = self.student.model, objective.base_depth
        if depth == 0:
            return base.get_input_embeddings()(input_ids)
        is_empty = not input_ids.numel()
        if is_empty and not self.is_in_step:
            return base.embed_audio.norm.weight.new_zeros(
                *input_ids.shape, self.student.config.text_config.hidden_size
            )
        if is_empty:
            input_ids, attention_mask = input_ids.new_zeros(1, 1), attention_mask.new_ones(1, 1)
        # LoRA is off unless AuraModel turns it on: this is the base LLM.
        layers = base.language_model if depth is None else base.first_layers(depth)
        states = layers(input_ids=input_ids, attention_mask=attention_mask, use_cache=False).last_hidden_state
        return states[:0] if is_empty else states

    def _states_in_step(self, num_layers: int, outputs: StudentOutputs | None) -> torch.Tensor | None:
        """What came out of the deepest layer that the other processes run too, be it for a token without meaning; `None` = they need not wait for it."""
        if not self.is_in_step or not num_layers:
            return None
        if outputs is not None:
            return outputs.last_hidden_state
        token = torch.zeros(1, 1, dtype=torch.long, device=self.student.device)
        return self.student.model(input_ids=token, num_hidden_layers=num_layers, use_cache=False).last_hidden_state

    def _num_shared_tokens(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, is_audio: torch.Tensor) -> int:
        """With how many tokens all rows begin, before any audio; 0 where they cannot, or need not, run once for all rows."""
        layers = self.student.model.language_model.layers
        if len(input_ids) < 2 or self.is_in_step or any(is_checkpointed(layer) for layer in layers):
            return 0
        if not is_audio.any(dim=1).all():
            return 0  # LoRA acts on rows with audio: in other rows the same tokens have other states
        differs = (input_ids != input_ids[:1]).any(dim=0) | is_audio.any(dim=0) | attention_mask.eq(0).any(dim=0)
        num_shared = int(differs.nonzero().min())
        return num_shared if num_shared >= FEWEST_SHARED_TOKENS else 0

    def _read_prompt(self, prompt: torch.Tensor, num_layers: int, repeats: int) -> Cache:
        """Keys and values of `prompt` (`(1, tokens)`) in the first `num_layers` layers, for `repeats` rows that go on from it."""
        cache = DynamicCache(config=self.student.model.language_model.config)
        self.student.model(
            input_ids=prompt,
            audio_rows=torch.ones(1, dtype=torch.bool, device=prompt.device),
            num_hidden_layers=num_layers,
            use_cache=False,
            **{CACHE_ARGUMENT: cache},
        )
        cache.batch_repeat_interleave(repeats)
        return cache

    def _leaves_parameters_out(
        self, active: Mapping[str, Objective], num_layers: int, outputs: StudentOutputs
    ) -> bool:
        """Whether this pass leaves some trainable parameter without a gradient."""
        idle = [objective for name, objective in self.objectives.items() if name not in active]
        return (
            not bool(outputs.is_audio.any())
            or num_layers < self.num_trained_layers
            or any(
                objective.needs_teacher or objective.needs_second_teacher or objective.trained_head is not None
                for objective in idle
            )
        )


def loss_name(objective: str) -> str:
    """How the loss of an objective is called in logs."""
    return f"{objective}_loss"


def is_checkpointed(layer: nn.Module) -> bool:
    """Whether a decoder layer forgets its activations and, with them, what it wrote to a cache."""
    return bool(getattr(layer, "gradient_checkpointing", False))
