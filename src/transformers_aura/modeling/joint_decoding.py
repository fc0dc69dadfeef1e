"""Writing a transcript down by two opinions: what the LLM would write next, and what its first layers heard (CTC on its own tokens).

Joint CTC/attention decoding of Watanabe et al., "Hybrid CTC/Attention Architecture for End-to-End Speech Recognition" (IEEE JSTSP 2017),
with the prefix probabilities of Graves ("Supervised Sequence Labelling with Recurrent Neural Networks", 2012, section 7.5).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from transformers import LogitsProcessor


TOKENS_PER_STEP = 64
"""Tokens that one audio token may stand for when a transcript is written; all others are taken for inaudible there."""

INAUDIBLE = -30.0
"""Natural log of the probability with which CTC says what no audio token stands for."""

_NEVER = -1e9


class CTCPrefixScorer:
    """Probabilities of a clip's transcript, token by token, under CTC.

    Args:
        log_probabilities: of the blank (column 0) and of every token (its id + 1) at every audio token, `(steps, 1 + vocabulary)`.
    """

    def __init__(self, log_probabilities: torch.Tensor) -> None:
        num_steps, num_symbols = log_probabilities.shape
        likeliest = log_probabilities[:, 1:].topk(min(TOKENS_PER_STEP, num_symbols - 1)).indices
        tokens = likeliest.unique()
        kept = torch.cat([tokens.new_zeros(1), tokens + 1])
        self.tokens = tokens.cpu().numpy()
        self._steps = log_probabilities[:, kept].double().cpu().numpy()
        self._probabilities = np.exp(self._steps)
        self._columns = {token: column for column, token in enumerate(self.tokens.tolist(), start=1)}
        # Of each prefix: log-probability of its end on a token, and on a blank, at each step; and that of all that begins with it.
        self._prefixes: dict[tuple[int, ...], tuple[np.ndarray, np.ndarray, float]] = {
            (): (np.full(num_steps, _NEVER), np.cumsum(self._steps[:, 0]), 0.0)
        }

    def next_token(self, prefix: Sequence[int]) -> tuple[np.ndarray, float]:
        """What may follow.

        Args:
            prefix: token ids written so far.

        Returns:
            natural log of the probability of each of `tokens` after `prefix`; and that of its end.
        """
        prefix = tuple(prefix)
        on_token, on_blank, of_prefix = self._prefix(prefix)
        before = self._before(np.logaddexp(on_token, on_blank), at_start=not prefix)
        highest = before.max()
        sums = np.exp(before - highest) @ self._probabilities[:, 1:]
        following = np.log(np.maximum(sums, np.finfo(float).tiny)) + highest
        if prefix and prefix[-1] in self._columns:  # the same token again needs a blank between
            column = self._columns[prefix[-1]]
            apart = self._before(on_blank, at_start=False) + self._steps[:, column]
            following[column - 1] = np.logaddexp.reduce(apart)
        return following - of_prefix, float(np.logaddexp(on_token[-1], on_blank[-1]) - of_prefix)

    def _prefix(self, prefix: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, float]:
        if prefix in self._prefixes:
            return self._prefixes[prefix]
        token = prefix[-1]
        on_token, on_blank, _ = self._prefix(prefix[:-1])
        repeats = len(prefix) > 1 and prefix[-2] == token
        before = self._before(on_blank if repeats else np.logaddexp(on_token, on_blank), at_start=len(prefix) == 1)
        said = self._steps[:, self._columns[token]] if token in self._columns else np.full(len(before), INAUDIBLE)
        ends_on_token, ends_on_blank = np.empty_like(before), np.empty_like(before)
        token_so_far = blank_so_far = _NEVER
        for step, (arrives, says, pauses) in enumerate(zip(before, said, self._steps[:, 0], strict=True)):
            token_so_far, blank_so_far = (
                np.logaddexp(token_so_far, arrives) + says,
                np.logaddexp(blank_so_far, token_so_far) + pauses,
            )
            ends_on_token[step], ends_on_blank[step] = token_so_far, blank_so_far
        found = (ends_on_token, ends_on_blank, float(np.logaddexp.reduce(before + said)))
        self._prefixes[prefix] = found
        return found

    @staticmethod
    def _before(ends: np.ndarray, at_start: bool) -> np.ndarray:
        """Of each step: the log-probability that all before it has been said."""
        return np.concatenate([[0.0 if at_start else _NEVER], ends[:-1]])


class JointCTCLogitsProcessor(LogitsProcessor):
    """Weighs what the LLM would write with what CTC heard: `(1 - weight) * log p(LLM) + weight * log p(CTC)`.

    Args:
        scorers: one for each prompt; `None` where no transcript is asked for, whose scores stay as they are.
        prompt_length: tokens before the transcripts.
        weight: of CTC, between 0 and 1.
        eos_token_ids: tokens that end a transcript.
    """

    def __init__(
        self,
        scorers: Sequence[CTCPrefixScorer | None],
        prompt_length: int,
        weight: float,
        eos_token_ids: Sequence[int],
    ) -> None:
        self.scorers = list(scorers)
        self.prompt_length = prompt_length
        self.weight = weight
        self.eos_token_ids = list(eos_token_ids)

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        """See [`LogitsProcessor`]. Rows of one prompt (beams, several answers) stand together."""
        rows_per_prompt = len(input_ids) // len(self.scorers)
        joint = scores.clone()
        for row, written in enumerate(input_ids[:, self.prompt_length :].tolist()):
            scorer = self.scorers[row // rows_per_prompt]
            if scorer is None or any(token in self.eos_token_ids for token in written):
                continue
            following, end = scorer.next_token(written)
            heard = torch.full_like(scores[row], INAUDIBLE, dtype=torch.float32)
            heard[torch.as_tensor(scorer.tokens, device=heard.device)] = torch.as_tensor(
                following, dtype=torch.float32, device=heard.device
            ).clamp(min=INAUDIBLE)
            heard[self.eos_token_ids] = max(end, INAUDIBLE)
            llm = scores[row].float().log_softmax(-1)
            weighed = (1 - self.weight) * llm + self.weight * heard
            joint[row] = weighed.masked_fill(llm.isneginf(), -torch.inf).to(joint.dtype)  # forbidden stays forbidden
        return joint
