"""A third opinion on the transcript of a spoken question: how likely its words are where the LLM reads them, as text in the place of the audio.

Shallow fusion of Gulcehre et al., "On Using Monolingual Corpora in Neural Machine Translation" (2015), with the base LLM itself as the language model: there is no second model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from transformers import DynamicCache, LogitsProcessor

from .cache_argument import CACHE_ARGUMENT


if TYPE_CHECKING:
    from .modeling_aura import AuraForSpeechQA


Written = tuple[int, tuple[int, ...]]
"""The number of a prompt, and the tokens written behind it."""


class LanguageModelScorer:
    """Probabilities of a text, token by token, where the LLM reads it.

    Args:
        model: the student; without audio it is the base LLM.
        contexts: token ids of what stands before each text.
    """

    def __init__(self, model: AuraForSpeechQA, contexts: Sequence[Sequence[int]]) -> None:
        self._model = model
        self.contexts = [list(context) for context in contexts]
        # What was read last, its keys and values, and which of their columns are tokens.
        self._read: dict[Written, int] = {}
        self._cache: DynamicCache | None = None
        self._mask = torch.zeros(0, 0, dtype=torch.long)

    def next_token(self, texts: Sequence[Written]) -> torch.Tensor:
        """What may follow each of some texts: natural log of the probability of every token, float32 `(len(texts), vocabulary)`.

        Each has a context or a token of its own. Texts that are one token longer than some of the last call are read on from there, others from their beginning.
        """
        distinct = list(dict.fromkeys(texts))
        shorter = [self._read.get((prompt, tokens[:-1])) if tokens else None for prompt, tokens in distinct]
        goes_on = [index for index in shorter if index is not None]
        if self._cache is not None and len(goes_on) == len(distinct):
            indices = torch.tensor(goes_on, device=self._mask.device)
            self._cache.batch_select_indices(indices)
            new = torch.tensor([tokens[-1:] for _, tokens in distinct], device=self._mask.device)
            self._mask = torch.cat([self._mask[indices], torch.ones_like(new)], dim=-1)
        else:
            self._cache = DynamicCache(config=self._model.config.get_text_config(decoder=True))
            rows = [[*self.contexts[prompt], *tokens] for prompt, tokens in distinct]
            longest = max(map(len, rows))
            padding = [longest - len(row) for row in rows]
            new = torch.tensor(
                [[0] * pad + row for pad, row in zip(padding, rows, strict=True)], device=self._model.device
            )
            self._mask = torch.ones_like(new)
            for row, pad in zip(self._mask, padding, strict=True):
                row[:pad] = 0
        self._read = {text: index for index, text in enumerate(distinct)}
        positions = (self._mask.cumsum(-1) - 1).clamp(min=0)[:, -new.shape[1] :]
        with torch.no_grad():
            logits = self._model(
                input_ids=new,
                attention_mask=self._mask,
                position_ids=positions,
                use_cache=True,
                logits_to_keep=1,
                **{CACHE_ARGUMENT: self._cache},
            ).logits[:, -1]
        return logits.float().log_softmax(-1)[[self._read[text] for text in texts]]


class ShallowFusionLogitsProcessor(LogitsProcessor):
    """Adds what the LLM thinks of a transcript as a text: `score + weight * log p(LLM that reads)`.

    Args:
        scorer: reads the transcripts; its contexts are those of the prompts. A prompt with nothing before its audio keeps its scores.
        prompt_length: tokens before the transcripts.
        weight: 0 or more.
        eos_token_ids: tokens that end a transcript.
    """

    def __init__(
        self,
        scorer: LanguageModelScorer,
        prompt_length: int,
        weight: float,
        eos_token_ids: Sequence[int],
    ) -> None:
        self.scorer = scorer
        self.prompt_length = prompt_length
        self.weight = weight
        self.eos_token_ids = list(eos_token_ids)

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        """See [`LogitsProcessor`]. Rows of one prompt (beams, several answers) stand together."""
        rows_per_prompt = len(input_ids) // len(self.scorer.contexts)
        texts = {
            row: (row // rows_per_prompt, tuple(written))
            for row, written in enumerate(input_ids[:, self.prompt_length :].tolist())
            if self.scorer.contexts[row // rows_per_prompt]
            and not any(token in self.eos_token_ids for token in written)
        }
        if not texts:
            return scores
        fused = scores.clone()
        read = self.scorer.next_token(list(texts.values())).to(scores.device)
        fused[list(texts)] += (self.weight * read).to(fused.dtype)
        return fused
