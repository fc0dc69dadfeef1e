"""Self-distillation of answers: the base LLM, given the gold transcript, teaches the student, given the audio."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch.nn import functional as F

from ...processing.conversation import build_conversation
from ..examples import IGNORED_LABEL, Example, ExampleBatch, tokenize_chats
from ..student_outputs import StudentOutputs, predicting_positions
from .objective import Objective


ROW_SWITCH = "answer_kl"
"""Optional boolean of a row; `False` = the base LLM, given its transcript, would answer something else, so it does not teach this row."""


def gold_prompts(batch: ExampleBatch) -> dict[str, torch.Tensor]:
    """The chats of rows with audio, transcript and answer, the transcript in the place of the audio: the base LLM's prompt.

    Returns:
        `gold_input_ids`, `gold_attention_mask`, `gold_labels` (`torch.LongTensor` of shape `(gold rows, sequence)`), whose labels are the same
        tokens in the same order as those of these rows in the batch; and `has_gold_prompt` (`torch.BoolTensor` of shape `(rows,)`).
    """
    has_gold_prompt, prompts = gold_chats(batch)
    gold = [example for example, has_one in zip(batch.examples, has_gold_prompt, strict=True) if has_one]
    columns = batch.pad(prompts, [example.completion for example in gold])
    return {
        **{f"gold_{name}": column for name, column in columns.items()},
        "has_gold_prompt": torch.tensor(has_gold_prompt, dtype=torch.bool),
    }


def gold_chats(batch: ExampleBatch) -> tuple[list[bool], list[list[int]]]:
    """Which rows have audio, transcript and answer, and their chats with the transcript in the place of the audio, up to where the answer begins."""
    has_gold_prompt = [_has_gold_prompt(example) for example in batch.examples]
    chats = [
        build_conversation(question="\n".join(filter(None, (example.transcript, example.row.get("question")))))
        for example, has_one in zip(batch.examples, has_gold_prompt, strict=True)
        if has_one
    ]
    return has_gold_prompt, tokenize_chats(batch.processor, chats)["input_ids"]


def _has_gold_prompt(example: Example) -> bool:
    return bool(example.transcript and example.row.get("answer") and example.row.get(ROW_SWITCH, True))


class AnswerKLObjective(Objective):
    r"""`KL(teacher || student)` over the vocabulary for each answer token, in nats.

    The teacher is the base LLM, LoRA off, whose prompt holds the gold transcript in the place of the audio; both see the same answer tokens (teacher
    forcing). It acts on rows with audio, transcript and answer, unless the row's key `answer_kl` is `False`: where the answers are of a closed domain,
    which the base LLM would not give. No gradient flows to the teacher's logits. Costs one forward pass of the base LLM.

    References:
        - Distilling the Knowledge in a Neural Network: https://arxiv.org/abs/1503.02531

    Inputs of `divergences`:
        | argument         | shape                        | meaning                                       |
        |------------------|------------------------------|-----------------------------------------------|
        | `student_logits` | `(answer_tokens, vocabulary)`| predictions for the answer tokens from audio  |
        | `teacher_logits` | `(answer_tokens, vocabulary)`| predictions for the same tokens from the text |
        | returns          | `(answer_tokens,)`           | divergence, nats                              |

    Example:
        >>> import torch
        >>> logits = torch.tensor([[1.0, 2.0, 3.0]])
        >>> AnswerKLObjective.divergences(logits, logits)
        tensor([0.])
    """

    name = "answer_kl"
    needs_text = True
    needs_logits = True
    teaches_answers = True
    columns = (gold_prompts,)
    base_reads = "gold"

    @staticmethod
    def divergences(student_logits: torch.Tensor, teacher_logits: torch.Tensor) -> torch.Tensor:
        """The divergence of each answer token; shapes as in the table of the class."""
        student = F.log_softmax(student_logits.float(), dim=-1)
        teacher = F.log_softmax(teacher_logits.detach().float(), dim=-1)
        return F.kl_div(student, teacher, reduction="none", log_target=True).sum(dim=-1)

    def count(self, batch: Mapping[str, Any]) -> torch.Tensor:
        return batch["gold_labels"][:, 1:].ne(IGNORED_LABEL).sum()

    def loss(self, outputs: StudentOutputs) -> torch.Tensor:
        batch, student = outputs.batch, outputs.student
        labels = outputs.of_span(batch["labels"])
        rows = predicting_positions(labels) // max(labels.shape[1], 1)
        student_logits = outputs.labelled_logits[batch["has_gold_prompt"][rows]]
        if not len(student_logits):
            return outputs.labelled_logits.sum() * 0.0
        with torch.no_grad():
            positions = predicting_positions(batch["gold_labels"])
            hidden = outputs.base_states["gold"].flatten(0, 1).index_select(0, positions)
            teacher_logits = student.compute_logits(hidden)
        return self.divergences(student_logits, teacher_logits).sum()
