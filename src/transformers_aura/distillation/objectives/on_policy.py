"""On-policy distillation: the student answers the audio itself, and the base LLM, given the gold transcript, judges each token of that answer."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F
from transformers import GenerationConfig

from ...modeling.context_length import context_length
from ...modeling.modeling_aura import AuraForSpeechQA
from ..examples import IGNORED_LABEL, ExampleBatch
from ..student_outputs import StudentOutputs, predicting_positions
from .answer_kl import gold_chats
from .objective import Objective


def on_policy_prompts(batch: ExampleBatch) -> dict[str, torch.Tensor]:
    """The prompts of the rows that the student answers itself, those with audio, transcript and answer: with the audio, and with the transcript in its place.

    Returns:
        `answers_itself` (`torch.BoolTensor` of shape `(rows,)`); of these rows `own_prompt_ids`, `own_prompt_mask` (`torch.LongTensor` of shape
        `(answering rows, sequence)`) with the audio, and `judge_prompt_ids`, `judge_prompt_mask` with the transcript, all left padded.
    """
    answers_itself, judge_prompts = gold_chats(batch)
    own_prompts = [example.prompt for example, own in zip(batch.examples, answers_itself, strict=True) if own]
    own_ids, own_mask = _left_padded(own_prompts)
    judge_ids, judge_mask = _left_padded(judge_prompts)
    return {
        "answers_itself": torch.tensor(answers_itself, dtype=torch.bool),
        "own_prompt_ids": own_ids,
        "own_prompt_mask": own_mask,
        "judge_prompt_ids": judge_ids,
        "judge_prompt_mask": judge_mask,
    }


def _left_padded(prompts: Sequence[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    longest = max(map(len, prompts), default=0)
    ids = torch.zeros(len(prompts), longest, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, longest - len(prompt) :] = torch.tensor(prompt, dtype=torch.long)
        mask[row, longest - len(prompt) :] = 1
    return ids, mask


class OnPolicyObjective(Objective):
    r"""Generalised Jensen-Shannon divergence over the vocabulary for each token of the student's own answer, in nats.

    With `m = beta * teacher + (1 - beta) * student` it is `beta * KL(teacher || m) + (1 - beta) * KL(student || m)`; its limits are taken at the ends:
    `KL(teacher || student)` at `beta=0`, `KL(student || teacher)` at `beta=1`.

    The student answers the audio as it would be asked to later, so it learns from the contexts that its own mistakes lead to. The teacher is the base LLM,
    LoRA off, whose prompt holds the gold transcript in the place of the audio, followed by the same answer. It acts on the rows that
    [`AnswerKLObjective`] acts on; what stands in `answer` is not read. No gradient flows to the teacher, nor through the choice of the tokens.
    In an evaluation the answers are greedy, so that its value does not depend on batches.

    It costs the generation, one pass of the student with its gradient and one of the base LLM; `on_policy/generation_seconds` in the logs tells the first,
    a batch, and `on_policy/answer_tokens` how long the answers are.

    Args:
        weight: of the term.
        beta: from 0 to 1, see above.
        fraction: share of the optimisation steps that have the term, at random.
        max_new_tokens: most tokens of an answer; a longer one is learnt from as far as it goes.
        temperature: of the sampling; 0 = greedy.

    References:
        - On-Policy Distillation of Language Models (GKD), equation 1: https://arxiv.org/abs/2306.13649

    Inputs of `divergences`:
        | argument         | shape                        | meaning                                                |
        |------------------|------------------------------|--------------------------------------------------------|
        | `student_logits` | `(answer_tokens, vocabulary)`| predictions for its own answer's tokens from the audio |
        | `teacher_logits` | `(answer_tokens, vocabulary)`| predictions for the same tokens from the transcript    |
        | `beta`           | a number                     | from 0 to 1                                            |
        | returns          | `(answer_tokens,)`           | divergence, nats                                       |

    Example:
        >>> import torch
        >>> logits = torch.tensor([[1.0, 2.0, 3.0]])
        >>> OnPolicyObjective.divergences(logits, logits, beta=0.5).abs() < 1e-6
        tensor([True])
    """

    name = "on_policy"
    needs_text = True
    teaches_answers = True
    asks_student = True
    base_reads = "judge"
    columns = (on_policy_prompts,)
    depths = (0,)
    metrics = ("on_policy/answer_tokens", "on_policy/generation_seconds")

    def __init__(
        self,
        weight: float = 1.0,
        beta: float = 0.5,
        fraction: float = 1.0,
        max_new_tokens: int = 32,
        temperature: float = 1.0,
    ) -> None:
        super().__init__(weight)
        self.beta = beta
        self.share_of_steps = fraction
        self.max_new_tokens = max_new_tokens
        self.temperature = temperature

    @staticmethod
    def divergences(student_logits: torch.Tensor, teacher_logits: torch.Tensor, beta: float) -> torch.Tensor:
        """The divergence of each answer token; shapes as in the table of the class."""
        student = F.log_softmax(student_logits.float(), dim=-1)
        teacher = F.log_softmax(teacher_logits.detach().float(), dim=-1)
        if beta == 0:
            return _kl(teacher, student)
        if beta == 1:
            return _kl(student, teacher)
        mixture = torch.logaddexp(teacher + math.log(beta), student + math.log1p(-beta))
        return beta * _kl(teacher, mixture) + (1 - beta) * _kl(student, mixture)

    def student_columns(
        self, student: AuraForSpeechQA, batch: Mapping[str, Any], seed: Sequence[int] | None
    ) -> dict[str, Any]:
        """The student's answers: `own_input_ids`, `own_attention_mask`, `own_labels` and `judge_input_ids`, `judge_attention_mask`, `judge_labels`
        (`torch.LongTensor` of shape `(answering rows, sequence)`), the same answers behind both kinds of prompts; and `generation_seconds`, a scalar.
        """
        start = time.perf_counter()
        answers, is_answer = self._answers(student, batch, seed)
        columns = {"generation_seconds": torch.tensor(time.perf_counter() - start, device=answers.device)}
        labels = answers.masked_fill(~is_answer, IGNORED_LABEL)
        for name in ("own", "judge"):
            prompts, mask = batch[f"{name}_prompt_ids"], batch[f"{name}_prompt_mask"]
            columns[f"{name}_input_ids"] = torch.cat([prompts, answers], 1)
            columns[f"{name}_attention_mask"] = torch.cat([mask, is_answer.long()], 1)
            columns[f"{name}_labels"] = torch.cat([torch.full_like(prompts, IGNORED_LABEL), labels], 1)
        return columns

    def _answers(
        self, student: AuraForSpeechQA, batch: Mapping[str, Any], seed: Sequence[int] | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The tokens of the answers, right padded, and where they are, both `(answering rows, tokens)`; the token that ends an answer belongs to it."""
        prompts, device = batch["own_prompt_ids"], batch["own_prompt_ids"].device
        if not len(prompts):
            return prompts, prompts.bool()
        limit = context_length(student.config.text_config)
        max_new_tokens = self.max_new_tokens
        if limit is not None:
            room = limit - max(prompts.shape[1], batch["judge_prompt_ids"].shape[1])
            max_new_tokens = max(min(max_new_tokens, room), 1)
        sampled = seed is not None and self.temperature > 0
        eos_token_id = student.generation_config.eos_token_id
        # Without the penalties and filters that a model's own config may have: the tokens are drawn from what is then compared.
        settings = GenerationConfig(
            max_new_tokens=max_new_tokens,
            do_sample=sampled,
            num_beams=1,
            use_cache=True,
            repetition_penalty=1.0,
            eos_token_id=eos_token_id,
            pad_token_id=0,
            **({"temperature": self.temperature, "top_k": 0, "top_p": 1.0} if sampled else {}),
        )
        clips = batch["answers_itself"][(batch["input_ids"] == self.audio_token_id).any(1)]
        was_training = student.training
        student.eval()
        try:
            with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
                torch.manual_seed(int(np.random.SeedSequence(list(seed or ())).generate_state(1, np.uint64)[0]) >> 1)
                tokens = student.generate(
                    input_ids=prompts,
                    attention_mask=batch["own_prompt_mask"],
                    input_features=batch["input_features"][clips],
                    input_features_mask=batch["input_features_mask"][clips],
                    generation_config=settings,
                )[:, prompts.shape[1] :]
        finally:
            student.train(was_training)
        ends = torch.tensor([] if eos_token_id is None else eos_token_id, device=device).reshape(-1)
        is_end = torch.isin(tokens, ends).long()
        return tokens, is_end.cumsum(1) - is_end == 0

    def count(self, batch: Mapping[str, Any]) -> torch.Tensor:
        if "own_labels" not in batch:
            return batch["input_ids"].new_zeros(())
        return batch["own_labels"].ne(IGNORED_LABEL).sum()

    def metric_counts(self, batch: Mapping[str, Any]) -> Sequence[torch.Tensor]:
        answers = batch["input_ids"].new_tensor(len(batch.get("own_labels", ())))
        return [answers, answers.clamp(max=1)]

    def metric_sums(self, outputs: StudentOutputs) -> Sequence[torch.Tensor]:
        return [self.count(outputs.batch).float(), outputs.batch["generation_seconds"]]

    def loss(self, outputs: StudentOutputs) -> torch.Tensor:
        batch, student = outputs.batch, outputs.student
        if not len(batch["own_labels"]):
            return outputs.last_hidden_state.sum() * 0.0
        rows = batch["answers_itself"]
        lengths = outputs.num_audio_tokens[rows]
        audio_embeds = outputs.audio_states(0)[rows]
        states = student.model(
            input_ids=batch["own_input_ids"],
            attention_mask=batch["own_attention_mask"],
            position_ids=_positions(batch["own_attention_mask"]),
            audio_embeds=audio_embeds,
            audio_embeds_mask=torch.arange(audio_embeds.shape[1], device=lengths.device) < lengths[:, None],
            use_cache=False,
        ).last_hidden_state
        student_logits = _logits(student, states, batch["own_labels"])
        with torch.no_grad():
            teacher_logits = _logits(student, outputs.base_states["judge"], batch["judge_labels"])
        return self.divergences(student_logits, teacher_logits, self.beta).sum()


def _kl(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """`KL(first || second)` of log-probabilities `(tokens, vocabulary)`, `(tokens,)`."""
    return F.kl_div(second, first, reduction="none", log_target=True).sum(dim=-1)


def _positions(attention_mask: torch.Tensor) -> torch.Tensor:
    """Positions of left padded rows, as `generate` counts them."""
    return (attention_mask.cumsum(-1) - 1).clamp(min=0)


def _logits(student: AuraForSpeechQA, states: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Predictions for the labelled tokens, `(labelled tokens, vocabulary)`."""
    return student.compute_logits(states.flatten(0, 1).index_select(0, predicting_positions(labels)))
