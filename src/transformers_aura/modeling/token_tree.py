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
    """What may follow texts behind each of some prompts.

    Args:
        model: the student.
        cache: keys and values of the prompts.
        attention_mask: 1 = a token of the prompt, `(prompts, columns)`.
        hears: of each prompt, whether it holds audio, so that LoRA acts on what stands behind it.
    """

    def __init__(
        self, model: AuraForSpeechQA, cache: DynamicCache, attention_mask: torch.Tensor, hears: Sequence[bool]
    ) -> None:
        self._model = model
        self._cache = cache
        self._prompts = attention_mask.bool()
        self._hears = torch.tensor(list(hears), device=attention_mask.device)
        # Of each prompt and text that was read: the columns of the cache where it stands.
        self._columns: list[dict[Text, list[int]]] = [{(): []} for _ in hears]

    @torch.no_grad()
    def read(self, texts: Sequence[Sequence[Text]]) -> list[np.ndarray]:
        """Reads the last token of each text; without it, it is empty or was read before.

        Args:
            texts: of each prompt; none of them empty or read before.

        Returns:
            natural log of the probability of every token behind each text, `(texts, vocabulary)` for each prompt.
        """
        longest = max(map(len, texts))
        first, device = self._cache.get_seq_length(), self._prompts.device
        input_ids = torch.zeros(len(texts), longest, dtype=torch.long)
        depths = torch.zeros_like(input_ids)
        # Padding sees itself, and nothing sees it.
        visible = torch.zeros(len(texts), longest, first + longest, dtype=torch.bool)
        visible[:, torch.arange(longest), first + torch.arange(longest)] = True
        for prompt, of_prompt in enumerate(texts):
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
            inputs_embeds=self._model.get_input_embeddings().weight.new_empty(len(texts), longest, 1),
            attention_mask=None,
            and_mask_function=lambda row, head, query, key: visible[row, query - first, key],
            **{CACHE_ARGUMENT: self._cache},
        )
        logits = self._model(
            input_ids=input_ids.to(device),
            attention_mask=masks,
            position_ids=self._prompts.sum(-1)[:, None] + depths.to(device),
            audio_rows=self._hears,
            use_cache=True,
            **{CACHE_ARGUMENT: self._cache},
        ).logits
        return [
            logits[prompt, : len(of_prompt)].float().log_softmax(-1).cpu().numpy()
            for prompt, of_prompt in enumerate(texts)
        ]

    def keep(self, texts: Sequence[Iterable[Text]]) -> None:
        """Forgets what none of some texts that were read begins with, once most of what is kept is such."""
        needed = set(range(self._prompts.shape[1]))
        for columns, of_prompt in zip(self._columns, texts, strict=True):
            needed.update(column for text in of_prompt for column in columns[text])
        if 2 * len(needed) > self._cache.get_seq_length():
            return
        kept = sorted(needed)
        index = torch.tensor(kept, device=self._prompts.device)
        for layer in self._cache.layers:
            layer.keys, layer.values = layer.keys[:, :, index], layer.values[:, :, index]
        place = {column: number for number, column in enumerate(kept)}
        self._columns = [
            {
                text: [place[column] for column in of_text]
                for text, of_text in columns.items()
                if all(column in place for column in of_text)
            }
            for columns in self._columns
        ]
