"""One forward pass of the student with all losses: the module that the trainer runs, and wraps for several processes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from transformers import Cache, DynamicCache

from ..modeling.cache_argument import CACHE_ARGUMENT
from ..modeling.ctc_heads import STEPS_PER_TOKEN, SubwordCTCHead, audio_states
from ..modeling.modeling_aura import AuraForSpeechQA
from .collator import IGNORED_LABEL
from .heads import DistillationHeads
from .losses import AnswerKLLoss, CosineLoss, CTCLoss, LanguageModelingLoss, MSELoss, TextStateLoss
from .text_alignment import align_ctc
from .transcript_heads import TranscriptHeads


@dataclass(frozen=True)
class Terms:
    """Which losses a pass computes."""

    distillation: bool
    language_modeling: bool
    answer_kl: bool
    ctc: bool = False
    subword_ctc: bool = False
    text_states: bool = False


FEWEST_SHARED_TOKENS = 8
"""A shorter beginning is not worth a pass of its own."""

NUM_TERMS = 7
"""Loss terms that [`StudentLosses`] sums."""


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
        subword_ctc_head: `None` if the LLM's tokens are not read off.
        token_layer: the depth that `subword_ctc_head` reads: 0 = the patch embedding, `n` = the first `n` decoder layers.
        text_state_layers: depths whose states are compared with the base LLM's that reads the transcript.
        share_prompt: run the tokens with which all rows of a batch begin (a system message) once, not once a row. The sums are the same.
        pad_to_multiple_of: rows that the heads and the LLM's head compute are padded to a multiple of 4 times this.
    """

    def __init__(
        self,
        student: AuraForSpeechQA,
        heads: DistillationHeads | None,
        answer_kl_temperature: float = 1.0,
        transcript_heads: TranscriptHeads | None = None,
        pad_to_multiple_of: int | None = None,
        subword_ctc_head: SubwordCTCHead | None = None,
        token_layer: int = 0,
        text_state_layers: Sequence[int] = (),
        share_prompt: bool = True,
    ) -> None:
        super().__init__()
        self.student = student
        self.heads = heads
        self.transcript_heads = transcript_heads
        self.subword_ctc_head = subword_ctc_head
        self.token_layer = token_layer
        self.text_state_layers = list(text_state_layers)
        self.share_prompt = share_prompt
        self.row_multiple = 4 * (pad_to_multiple_of or 0)
        self.cosine_loss = CosineLoss()
        self.mse_loss = MSELoss()
        self.language_modeling_loss = LanguageModelingLoss()
        self.answer_kl_loss = AnswerKLLoss(answer_kl_temperature)
        self.ctc_loss = CTCLoss()
        self.text_state_loss = TextStateLoss()
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
        transcript_tokens: torch.Tensor | None = None,
        transcript_token_lengths: torch.Tensor | None = None,
        text_input_ids: torch.Tensor | None = None,
        text_attention_mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Sums over tokens, to be divided by the tokens of the whole optimisation step.

        Args:
            terms: what to compute; the rest is 0.
            targets (`torch.FloatTensor` of shape `(teacher_layers, audio_tokens, width)`): teacher states at the audio
                positions in reading order.
            others: what [`AuraDataCollator`] returns.

        Returns:
            `torch.FloatTensor` of shape `(NUM_TERMS + num_pairs,)`: cosine and MSE (each the mean over pairs, summed over audio
            tokens), cross-entropy, answer KL (summed over their tokens), CTC (the mean over its layers, summed over clips), CTC
            on tokens (summed over clips), text states (the mean over their layers, summed over tokens); then the cosine distance
            of each pair.
        """
        sums = [torch.zeros((), device=input_ids.device)] * NUM_TERMS
        pair_sums = [torch.zeros((), device=input_ids.device)] * self.num_pairs
        num_layers = self.student.config.text_config.num_hidden_layers
        uses_head = terms.language_modeling or terms.answer_kl
        is_audio = input_ids == self.student.config.audio_token_id
        if not uses_head:
            num_layers = self._deepest_layer_in_use()
            # Attention is causal beyond the audio: what follows the last audio position changes nothing before it.
            columns = int(is_audio.any(dim=0).nonzero().max()) + 1 if is_audio.any() else 0
            input_ids, attention_mask, is_audio = (x[:, :columns] for x in (input_ids, attention_mask, is_audio))

        cache = None
        num_shared = self._num_shared_tokens(input_ids, attention_mask, is_audio) if num_layers else 0
        if num_shared:
            cache = self._read_prompt(input_ids[:1, :num_shared], num_layers, repeats=len(input_ids))
            # What follows is about the rest of the rows alone; attention sees all of them.
            input_ids, labels, is_audio = (x[:, num_shared:] for x in (input_ids, labels, is_audio))
            answer_kl_mask = None if answer_kl_mask is None else answer_kl_mask[:, num_shared:]
        audio_positions = is_audio.flatten().nonzero().squeeze(-1)
        if input_ids.numel():
            outputs = self.student.model(
                input_ids=input_ids,
                attention_mask=attention_mask,
                input_features=input_features,
                input_features_mask=input_features_mask,
                num_hidden_layers=num_layers,
                output_hidden_states=terms.distillation or terms.ctc or terms.subword_ctc,
                use_cache=False,
                **{CACHE_ARGUMENT: cache},
            )
            if terms.distillation and targets is not None:
                sums[0], sums[1], pair_sums = self._distillation(outputs.hidden_states, audio_positions, targets)
            if terms.ctc and transcript_symbols is not None and transcript_lengths is not None:
                sums[4] = self._ctc(outputs.hidden_states, input_ids, transcript_symbols, transcript_lengths)
            if terms.subword_ctc and transcript_tokens is not None and transcript_token_lengths is not None:
                text = (text_input_ids, text_attention_mask) if terms.text_states else None
                sums[5], sums[6] = self._tokens(
                    outputs.hidden_states, input_ids, transcript_tokens, transcript_token_lengths, text
                )
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

    def _num_shared_tokens(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, is_audio: torch.Tensor) -> int:
        """With how many tokens all rows begin, before any audio; 0 where they cannot, or need not, run once for all rows."""
        layers = self.student.model.language_model.layers
        if not self.share_prompt or len(input_ids) < 2 or any(is_checkpointed(layer) for layer in layers):
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

    def _tokens(
        self,
        hidden_states: tuple[torch.Tensor, ...],
        input_ids: torch.Tensor,
        tokens: torch.Tensor,
        lengths: torch.Tensor,
        text: tuple[torch.Tensor | None, torch.Tensor | None] | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """CTC on the transcript's tokens; and, given the transcript as `text`, how far their states lie from the base LLM's."""
        assert self.subword_ctc_head is not None
        is_audio = input_ids == self.student.config.audio_token_id
        steps = is_audio.sum(-1)
        embeddings = self.student.get_input_embeddings().weight
        logits, symbols = self.subword_ctc_head(hidden_states[self.token_layer], is_audio, embeddings, tokens)
        ctc = self.ctc_loss(logits, steps, symbols, lengths).sum()
        if text is None:
            return ctc, torch.zeros_like(ctc)
        text_input_ids, text_attention_mask = text
        assert text_input_ids is not None
        assert text_attention_mask is not None
        heard_at = align_ctc(logits, steps, symbols, lengths)
        clips, columns = (heard_at >= 0).nonzero(as_tuple=True)
        if not len(clips):
            return ctc, torch.zeros_like(ctc)
        with torch.no_grad():
            # LoRA is off unless AuraModel turns it on: this is the base LLM.
            depth = max(self.text_state_layers)
            if depth == 0:
                read = (self.student.get_input_embeddings()(text_input_ids),)
            else:
                read = self.student.model.first_layers(depth)(
                    input_ids=text_input_ids,
                    attention_mask=text_attention_mask,
                    output_hidden_states=True,
                    use_cache=False,
                ).hidden_states
        read_at = (text_attention_mask.sum(-1) - lengths)[clips] + columns
        distances = [
            self.text_state_loss(
                audio_states(hidden_states[layer], is_audio)[clips, heard_at[clips, columns]],
                read[layer][clips, read_at],
            ).sum()
            for layer in self.text_state_layers
        ]
        return ctc, torch.stack(distances).mean()

    def _deepest_layer_in_use(self) -> int:
        """Decoder layers that a pass without the LLM's head needs."""
        depths = [0] if self.heads is None else [self.heads.deepest_student_layer + 1]
        if self.transcript_heads is not None:
            depths += self.transcript_heads.layers
        if self.subword_ctc_head is not None:
            depths += [self.token_layer, *self.text_state_layers]
        return max(depths)

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
        if self.subword_ctc_head is not None and not terms.subword_ctc:
            return True
        return num_layers < self.num_trained_layers


def is_checkpointed(layer: nn.Module) -> bool:
    """Whether a decoder layer forgets its activations and, with them, what it wrote to a cache."""
    return bool(getattr(layer, "gradient_checkpointing", False))


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
