"""Reading many continuations of a prompt at once: a tree of tokens, each read once, in one pass of the LLM for all that are new.

Tree attention of Miao et al., "SpecInfer: Accelerating Large Language Model Serving with Tree-based Speculative Inference and Verification" (ASPLOS 2024).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from transformers import DynamicCache
from transformers.masking_utils import create_masks_for_generate

from .cache_argument import CACHE_ARGUMENT


if TYPE_CHECKING:
    from .modeling_aura import AuraForSpeechQA


Text = tuple[int, ...]
"""Ids of the tokens that stand behind a prompt."""


def can_read_trees(model: AuraForSpeechQA) -> bool:
    """Whether a token of this LLM can be shown any of the tokens before it: not behind a window, and not by flash attention."""
    text_config = model.config.get_text_config(decoder=True)
    flash = "flash" in (model.model.language_model.config._attn_implementation or "")
    return not flash and not any(DynamicCache(config=text_config).is_sliding)


class TokenTree:
    """How likely texts are behind each of some prompts.

    Args:
        model: the student.
        cache: keys and values of the prompts.
        attention_mask: 1 = a token of the prompt, `(prompts, columns)`.
        last_logits: behind the last token of each prompt, `(prompts, vocabulary)`.
        tokens: of each prompt, the ids of which texts behind it may consist.
        eos_token_ids: tokens that end a text.
        hears: whether the prompts hold audio, so that LoRA acts on them.
    """

    def __init__(
        self,
        model: AuraForSpeechQA,
        cache: DynamicCache,
        attention_mask: torch.Tensor,
        last_logits: torch.Tensor,
        tokens: Sequence[Sequence[int]],
        eos_token_ids: Sequence[int],
        hears: bool,
    ) -> None:
        self._model = model
        self._cache = cache
        self._prompts = attention_mask.bool()
        self._kept = [torch.tensor([*of_prompt, *eos_token_ids], device=last_logits.device) for of_prompt in tokens]
        self._index = [{token: index for index, token in enumerate(of_prompt)} for of_prompt in tokens]
        self._hears = hears
        # Of each prompt and text that was read: the columns of the cache where it stands, how likely it is, and what may follow it.
        self._columns: list[dict[Text, list[int]]] = [{(): []} for _ in tokens]
        self._likely: list[dict[Text, float]] = [{(): 0.0} for _ in tokens]
        self._following: list[dict[Text, np.ndarray]] = [
            {(): self._log_probabilities(prompt, logits)} for prompt, logits in enumerate(last_logits)
        ]

    def log_probability(self, prompt: int, text: Text) -> float:
        """Natural log of the probability that a text that was read stands behind a prompt, whatever follows it."""
        return self._likely[prompt][text]

    def end(self, prompt: int, text: Text) -> float:
        """Natural log of the probability that a text that was read ends there; 0 where nothing ends a text."""
        ends = self._following[prompt][text][len(self._index[prompt]) :]
        return float(ends.max()) if len(ends) else 0.0

    @torch.no_grad()
    def read(self, texts: Sequence[Iterable[Text]]) -> None:
        """Reads texts behind each prompt, and all that they begin with, in one pass; what was read already is not read again.

        Args:
            texts: of each prompt.
        """
        new = [self._unread(prompt, of_prompt) for prompt, of_prompt in enumerate(texts)]
        longest = max(map(len, new))
        if not longest:
            return
        first, device = self._cache.get_seq_length(), self._prompts.device
        input_ids = torch.zeros(len(new), longest, dtype=torch.long)
        depths = torch.zeros_like(input_ids)
        # Padding sees itself, and nothing sees it.
        visible = torch.zeros(len(new), longest, first + longest, dtype=torch.bool)
        visible[:, torch.arange(longest), first + torch.arange(longest)] = True
        for prompt, of_prompt in enumerate(new):
            for index, text in enumerate(of_prompt):
                columns = [*self._columns[prompt][text[:-1]], first + index]
                self._columns[prompt][text] = columns
                visible[prompt, index, columns] = True
                input_ids[prompt, index] = text[-1]
                depths[prompt, index] = len(text) - 1
        visible = visible.to(device)
        visible[:, :, : self._prompts.shape[1]] = self._prompts[:, None]
        masks = create_masks_for_generate(
            config=self._model.model.language_model.config,
            inputs_embeds=self._model.get_input_embeddings().weight.new_empty(len(new), longest, 1),
            attention_mask=None,
            and_mask_function=lambda row, head, query, key: visible[row, query - first, key],
            **{CACHE_ARGUMENT: self._cache},
        )
        logits = self._model(
            input_ids=input_ids.to(device),
            attention_mask=masks,
            position_ids=self._prompts.sum(-1)[:, None] + depths.to(device),
            audio_rows=torch.full((len(new),), self._hears, device=device),
            use_cache=True,
            **{CACHE_ARGUMENT: self._cache},
        ).logits
        for prompt, of_prompt in enumerate(new):
            following, likely = self._following[prompt], self._likely[prompt]
            read = self._log_probabilities(prompt, logits[prompt, : len(of_prompt)])
            for text, row in zip(of_prompt, read, strict=True):
                following[text] = row
                likely[text] = likely[text[:-1]] + float(following[text[:-1]][self._index[prompt][text[-1]]])

    def _unread(self, prompt: int, texts: Iterable[Text]) -> list[Text]:
        """Those of some texts, and of all that they begin with, that were not read; beginnings first."""
        found = set()
        for text in texts:
            while text not in self._columns[prompt] and text not in found:
                found.add(text)
                text = text[:-1]
        return sorted(found, key=len)

    def _log_probabilities(self, prompt: int, logits: torch.Tensor) -> np.ndarray:
        return logits.float().log_softmax(-1)[..., self._kept[prompt]].double().cpu().numpy()
