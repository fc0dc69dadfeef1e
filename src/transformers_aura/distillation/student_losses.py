"""One forward pass of the student with all losses: the module that the trainer runs, and wraps for several processes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from ..modeling.modeling_aura import AuraForSpeechQA
from .collator import IGNORED_LABEL
from .heads import DistillationHeads
from .losses import AnswerKLLoss, CosineLoss, CTCLoss, LanguageModelingLoss, MSELoss
from .transcript_heads import STEPS_PER_TOKEN, TranscriptHeads


@dataclass(frozen=True)
class Terms:
    """Which losses a pass computes."""

    distillation: bool
    language_modeling: bool
    answer_kl: bool
    ctc: bool = False


class StudentLosses(nn.Module):
    """The student and its distillation heads, with the sums of all loss terms as output.

    A module of its own so that one distributed wrapper covers all that is trained, while the student itself stays the plain
    [`AuraForSpeechQA`] that is saved, pushed and evaluated. Every trainable parameter takes part in every pass (with
    gradient 0 where a batch does not use it), so that processes with different kinds of rows stay in step.

    Args:
        student: the student.
        heads: `None` if there is no distillation.
        answer_kl_temperature: of the answer KL.
        transcript_heads: `None` if there is no CTC loss.
        pad_to_multiple_of: rows that the heads and the LLM's head compute are padded to a multiple of 4 times this.
    """

    def __init__(
        self,
        student: AuraForSpeechQA,
        heads: DistillationHeads | None,
        answer_kl_temperature: float = 1.0,
        transcript_heads: TranscriptHeads | None = None,
        pad_to_multiple_of: int | None = None,
    ) -> None:
        super().__init__()
        self.student = student
        self.heads = heads
        self.transcript_heads = transcript_heads
        self.row_multiple = 4 * (pad_to_multiple_of or 0)
        self.cosine_loss = CosineLoss()
        self.mse_loss = MSELoss()
        self.language_modeling_loss = LanguageModelingLoss()
        self.answer_kl_loss = AnswerKLLoss(answer_kl_temperature)
        self.ctc_loss = CTCLoss()
        self.num_trained_layers = max(
            (
                index + 1
                for index, layer in enumerate(student.model.language_model.layers)
                if any(parameter.requires_grad for parameter in layer.parameters())
            ),
            default=0,
        )

    @property
    def num_pairs(self) -> int:
        """Layer pairs."""
        return 0 if self.heads is None else len(self.heads.pairs)

    def forward(
        self,
        terms: Terms,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        labels: torch.Tensor,
        input_features: torch.Tensor | None = None,
        input_features_mask: torch.Tensor | None = None,
        targets: torch.Tensor | None = None,
        gold_input_ids: torch.Tensor | None = None,
        gold_attention_mask: torch.Tensor | None = None,
        gold_labels: torch.Tensor | None = None,
        answer_kl_mask: torch.Tensor | None = None,
        transcript_symbols: torch.Tensor | None = None,
        transcript_lengths: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Sums over tokens, to be divided by the tokens of the whole optimisation step.

        Args:
            terms: what to compute; the rest is 0.
            targets (`torch.FloatTensor` of shape `(teacher_layers, audio_tokens, width)`): teacher states at the audio
                positions in reading order.
            others: what [`AuraDataCollator`] returns.

        Returns:
            `torch.FloatTensor` of shape `(5 + num_pairs,)`: cosine and MSE (each the mean over pairs, summed over audio
            tokens), cross-entropy, answer KL (summed over their tokens), CTC (the mean over its layers, summed over clips); then
            the cosine distance of each pair.
        """
        sums = [torch.zeros((), device=input_ids.device)] * 5
        pair_sums = [torch.zeros((), device=input_ids.device)] * self.num_pairs
        num_layers = self.student.config.text_config.num_hidden_layers
        uses_head = terms.language_modeling or terms.answer_kl
        audio_positions = (input_ids == self.student.config.audio_token_id).flatten().nonzero().squeeze(-1)
        if not uses_head and (self.heads is not None or self.transcript_heads is not None):
            num_layers = 0 if self.heads is None else self.heads.deepest_student_layer + 1
            if self.transcript_heads is not None:
                num_layers = max(num_layers, *self.transcript_heads.layers)
            # Attention is causal beyond the audio: what follows the last audio position changes nothing before it.
            columns = int((audio_positions % max(input_ids.shape[1], 1)).max()) + 1 if len(audio_positions) else 0
            audio_positions = (
                (input_ids[:, :columns] == self.student.config.audio_token_id).flatten().nonzero().squeeze(-1)
            )
            input_ids, attention_mask = input_ids[:, :columns], attention_mask[:, :columns]

        if input_ids.numel():
            outputs = self.student.model(
                input_ids=input_ids,
                attention_mask=attention_mask,
                input_features=input_features,
                input_features_mask=input_features_mask,
                num_hidden_layers=num_layers,
                output_hidden_states=terms.distillation or terms.ctc,
                use_cache=False,
            )
            if terms.distillation and targets is not None:
                sums[0], sums[1], pair_sums = self._distillation(outputs.hidden_states, audio_positions, targets)
            if terms.ctc and transcript_symbols is not None and transcript_lengths is not None:
                sums[4] = self._ctc(outputs.hidden_states, input_ids, transcript_symbols, transcript_lengths)
            if uses_head:
                sums[2], sums[3] = self._language_modeling(
                    outputs.last_hidden_state,
                    labels,
                    gold_input_ids if terms.answer_kl else None,
                    gold_attention_mask,
                    gold_labels,
                    answer_kl_mask,
                )
        if self._leaves_parameters_out(terms, audio_positions, num_layers, input_ids, targets):
            sums[0] = sums[0] + sum(0.0 * p.reshape(-1)[0] for p in self.parameters() if p.requires_grad)
        return torch.stack([*sums, *pair_sums])

    def _distillation(
        self, hidden_states: tuple[torch.Tensor, ...], audio_positions: torch.Tensor, targets: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
        assert self.heads is not None
        if targets.shape[1] != len(audio_positions):
            raise ValueError(
                f"The teacher gave {targets.shape[1]} audio tokens, the batch holds {len(audio_positions)} audio positions. "
                "Do `waveforms` and `input_features` of the batch belong together?"
            )
        targets = self.heads.normalize_targets(targets)
        slots = {layer: slot for slot, layer in enumerate(self.heads.teacher_layers)}
        padded = padded_positions(audio_positions, self.row_multiple)
        states = [
            # hidden_states[0] is the input of the first layer: layer -1 is the patch embedding.
            hidden_states[student + 1].flatten(0, 1).index_select(0, padded)
            for student, _ in self.heads.pairs
        ]
        cosine_sums, mse_sums = [], []
        for (_, teacher), prediction in zip(self.heads.pairs, self.heads(states), strict=True):
            target = targets[slots[teacher]]
            prediction = prediction[: len(target)]
            cosine_sums.append(self.cosine_loss(prediction, target).sum())
            mse_sums.append(self.mse_loss(prediction, target).sum())
        return torch.stack(cosine_sums).mean(), torch.stack(mse_sums).mean(), [s.detach() for s in cosine_sums]

    def _ctc(
        self,
        hidden_states: tuple[torch.Tensor, ...],
        input_ids: torch.Tensor,
        transcript_symbols: torch.Tensor,
        transcript_lengths: torch.Tensor,
    ) -> torch.Tensor:
        assert self.transcript_heads is not None
        is_audio = input_ids == self.student.config.audio_token_id
        steps = is_audio.sum(-1) * STEPS_PER_TOKEN
        losses = [
            self.ctc_loss(logits, steps, transcript_symbols, transcript_lengths).sum()
            for logits in self.transcript_heads(hidden_states, is_audio)
        ]
        return torch.stack(losses).mean()

    def _language_modeling(
        self,
        hidden: torch.Tensor,
        labels: torch.Tensor,
        gold_input_ids: torch.Tensor | None,
        gold_attention_mask: torch.Tensor | None,
        gold_labels: torch.Tensor | None,
        answer_kl_mask: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Cross-entropy and answer KL, both from one run of the head over the labelled positions alone."""
        positions = predicting_positions(labels)
        padded = padded_positions(positions, self.row_multiple)
        logits = self.student.compute_logits(hidden.flatten(0, 1).index_select(0, padded))[: len(positions)]
        cross_entropy = self.language_modeling_loss(logits, labels.flatten().index_select(0, positions + 1)).sum()
        if gold_input_ids is None or gold_labels is None or answer_kl_mask is None or not gold_input_ids.numel():
            return cross_entropy, torch.zeros_like(cross_entropy)
        rows = answer_kl_mask.flatten().index_select(0, positions + 1).nonzero().squeeze(-1)
        with torch.no_grad():
            # LoRA is off unless AuraModel turns it on: this is the base LLM.
            gold_hidden = self.student.model.language_model(
                input_ids=gold_input_ids, attention_mask=gold_attention_mask, use_cache=False
            ).last_hidden_state
            gold_logits = self.student.compute_logits(
                gold_hidden.flatten(0, 1).index_select(0, predicting_positions(gold_labels))
            )
        return cross_entropy, self.answer_kl_loss(logits.index_select(0, rows), gold_logits).sum()

    def _leaves_parameters_out(
        self,
        terms: Terms,
        audio_positions: torch.Tensor,
        num_layers: int,
        input_ids: torch.Tensor,
        targets: torch.Tensor | None,
    ) -> bool:
        """Whether this pass would leave some trainable parameter without a gradient."""
        if not len(audio_positions) or not input_ids.numel():
            return True
        if self.heads is not None and (not terms.distillation or targets is None):
            return True
        if self.transcript_heads is not None and not terms.ctc:
            return True
        return num_layers < self.num_trained_layers


def padded_positions(positions: torch.Tensor, multiple: int) -> torch.Tensor:
    """`positions` (`(n,)`), their number brought up to a multiple of `multiple` (0 = left alone) by repeating the first."""
    if not multiple or not len(positions):
        return positions
    return torch.cat([positions, positions[:1].expand(-len(positions) % multiple)])


def predicting_positions(labels: torch.Tensor) -> torch.Tensor:
    """Flat indices into `(batch * sequence)` of the positions whose next token is labelled.

    Args:
        labels (`torch.LongTensor` of shape `(batch, sequence)`): -100 = not labelled. The first token of a row is never
            predicted.
    """
    is_labelled = labels.ne(IGNORED_LABEL)
    predicts = torch.zeros_like(is_labelled)
    predicts[:, :-1] = is_labelled[:, 1:]
    return predicts.flatten().nonzero().squeeze(-1)
