"""How far a state of the student at a spoken word lies from the state of the base LLM at the written word."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from ...modeling.modeling_aura import AuraForSpeechQA
from ..ctc import align_ctc
from ..heads import DistillationHeads
from ..student_outputs import StudentOutputs
from .columns import transcript_tokens
from .objective import Objective
from .subword_ctc import subword_ctc_layer_of, subword_emissions


class TextStatesObjective(Objective):
    r"""`|prediction - target|^2 / |target|^2` for each token of a transcript: 0 = the same state, 1 = as far as the zero vector.

    The prediction is the student's state at the depth of its subword CTC head, at the frame where the token is spoken: an alignment by that head tells
    it, so [`SubwordCTCObjective`] goes with it. The target is the base LLM's own state, LoRA off, at the token of the transcript. No head stands between: what
    the layers above get is what they know from text. No gradient flows to the target. Computed in float32. Costs one forward pass of the base LLM on the
    transcript.

    References:
        - DiVA aligns output states of an LLM that gets audio with those of the LLM on its text (arXiv 2410.02678); here it is each token's state at a layer
          in between.

    Inputs of `distances`:
        | argument     | shape             | meaning                                            |
        |--------------|-------------------|----------------------------------------------------|
        | `prediction` | `(tokens, width)` | student states where the tokens are spoken         |
        | `target`     | `(tokens, width)` | states of the base LLM at these tokens |
        | returns      | `(tokens,)`       | relative squared distance                          |

    Example:
        >>> import torch
        >>> TextStatesObjective.distances(torch.tensor([[3.0, 0.0], [0.0, 0.0]]), torch.tensor([[3.0, 0.0], [0.0, 2.0]]))
        tensor([0., 1.])
    """

    name = "text_state"
    needs_text = True
    columns = (transcript_tokens,)
    base_reads = "text"

    @staticmethod
    def distances(prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The distance of each token; shapes as in the table of the class."""
        target = target.detach().float()
        distance = (prediction.float() - target).square().sum(dim=-1)
        return distance / target.square().sum(dim=-1).clamp(min=1e-12)

    def prepare(self, student: AuraForSpeechQA, heads: DistillationHeads | None) -> None:
        super().prepare(student, heads)
        self.base_depth = subword_ctc_layer_of(student, self.name)
        self.depths = (self.base_depth,)

    def count(self, batch: Mapping[str, Any]) -> torch.Tensor:
        return batch["transcript_token_lengths"].sum()

    def loss(self, outputs: StudentOutputs) -> torch.Tensor:
        (depth,) = self.depths
        states = outputs.audio_states(depth)
        frames = align_ctc(*outputs.once(subword_emissions))
        clips, tokens = (frames >= 0).nonzero(as_tuple=True)
        if not len(clips):
            return states.sum() * 0.0
        text_mask = outputs.batch["text_attention_mask"]
        positions = (text_mask.sum(-1) - outputs.batch["transcript_token_lengths"])[clips] + tokens
        target = outputs.base_states["text"][clips, positions]
        return self.distances(states[clips, frames[clips, tokens]], target).sum()
