"""CTC on the LLM's own tokens of the transcript, told from the states of its first layers by the student's subword CTC head."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch

from ...modeling.modeling_aura import AuraForSpeechQA
from ..ctc import ctc_loss
from ..heads import DistillationHeads
from ..student_outputs import StudentOutputs
from .columns import transcript_tokens
from .ctc_objective import CTCObjective


class SubwordEmissions(NamedTuple):
    """What the subword CTC head makes of a batch.

    Attributes:
        logits (`torch.FloatTensor` of shape `(rows, frames, symbols)`): symbol 0 is the blank; right padded.
        frames (`(rows,)`): audio tokens of each row.
        symbols (`(rows, tokens)`): the transcripts' tokens as symbols, 1 and up.
        lengths (`(rows,)`): tokens of each transcript.
    """

    logits: torch.Tensor
    frames: torch.Tensor
    symbols: torch.Tensor
    lengths: torch.Tensor


def subword_emissions(outputs: StudentOutputs) -> SubwordEmissions:
    """What the student's subword CTC head makes of the pass; ask for it by `outputs.once(subword_emissions)`."""
    student, batch = outputs.student, outputs.batch
    head = student.model.subword_ctc_head
    assert head is not None
    logits, symbols = head(
        outputs.hidden_states[student.config.subword_ctc_layer],
        outputs.is_audio,
        student.get_input_embeddings().weight,
        batch["transcript_tokens"],
    )
    return SubwordEmissions(logits, outputs.num_audio_tokens, symbols, batch["transcript_token_lengths"])


def subword_ctc_layer_of(student: AuraForSpeechQA, objective: str) -> int:
    """The depth that the student's subword CTC head reads.

    Raises:
        ValueError: the student has no such head.
    """
    layer = student.config.subword_ctc_layer
    if layer is None:
        raise ValueError(
            f"`{objective}_weight` above 0 needs the student's subword CTC head, and this student has none. Set `subword_ctc_layer` "
            "(`model.subword_ctc_layer` of a recipe): the number of decoder layers whose states it reads."
        )
    return layer


class SubwordCTCObjective(CTCObjective):
    r"""`-log p(tokens | states)` of each transcript, summed over all alignments, in nats; per token.

    The tokens are the LLM's, told apart by its own embeddings, one frame an audio token: it turns sounds into words before the LLM's upper layers
    read them. A clip that is too short for its transcript is left out. The head is the student's own: `subword_ctc_layer` of its config makes one.
    In training the transcripts' tokens are told apart from each other and from others at random, in evaluation from the whole vocabulary.

    References:
        - Connectionist Temporal Classification (Graves et al., 2006)
        - Intermediate Loss Regularization for CTC-based Speech Recognition: https://arxiv.org/abs/2102.03216

    Inputs of `ctc_loss`:
        | argument         | shape                     | meaning                                             |
        |------------------|---------------------------|-----------------------------------------------------|
        | `logits`         | `(clips, frames, symbols)`| symbol 0 is the blank; 12.5 frames a second         |
        | `logit_lengths`  | `(clips,)`                | frames of each clip                                 |
        | `targets`        | `(clips, tokens)`         | symbols of the transcript, 1 and up                 |
        | `target_lengths` | `(clips,)`                | tokens of each transcript; 0 = has none             |
        | returns          | `(clips,)`                | negative log-likelihood, nats; 0 without transcript |

    Example:
        >>> import torch
        >>> from transformers_aura.distillation.ctc import ctc_loss
        >>> logits = torch.zeros(1, 2, 2)  # two frames, blank or one token: three of four paths write it
        >>> ctc_loss(logits, torch.tensor([2]), torch.tensor([[1]]), torch.tensor([1])).neg().exp()
        tensor([0.7500])
    """

    name = "subword_ctc"
    trained_head = "subword_ctc_head"
    symbols = "transcript_tokens"
    lengths = "transcript_token_lengths"
    columns = (transcript_tokens,)

    def prepare(self, student: AuraForSpeechQA, heads: DistillationHeads | None) -> None:
        super().prepare(student, heads)
        self.depths = (subword_ctc_layer_of(student, self.name),)

    def num_transcripts(self, batch: Mapping[str, Any]) -> torch.Tensor:
        return batch["transcript_token_lengths"].gt(0).sum()

    def loss(self, outputs: StudentOutputs) -> torch.Tensor:
        return ctc_loss(*outputs.once(subword_emissions)).sum()
