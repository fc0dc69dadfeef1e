"""The LLM's keys and values of one chat that grows, audio inside: what a longer chat begins with is computed once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import torch
from transformers import DynamicCache

from ..modeling.cache_argument import CACHE_ARGUMENT
from ..modeling.modeling_aura import AuraForSpeechQA
from .growing_cache import GrowingLayer, growing_cache


class AudioToken(NamedTuple):
    """An audio position: which clip it belongs to, and its place in there."""

    clip: int
    place: int


RowToken: TypeAlias = "int | AudioToken"
"""A token of a row: a token id of the LLM, or an audio position."""


class CachedRow:
    """
    A row of tokens of which the LLM has keys and values.

    Args:
        model: the student.
    """

    def __init__(self, model: AuraForSpeechQA) -> None:
        self._model = model
        self._tokens: list[RowToken] = []
        self._has_audio = True
        self.cache = self._empty_cache()

    def __len__(self) -> int:
        return len(self._tokens)

    @property
    def can_go_back(self) -> bool:
        """Whether tokens at the end can be dropped without computing those before anew: not where a window has slid over them, or a layer sums them up."""
        return all(isinstance(layer, GrowingLayer) for layer in self.cache.layers)

    def cut(self, length: int) -> None:
        """Drops all but the first so many tokens."""
        self.go_back_to(self._tokens[:length], self._has_audio)

    def compute(self, tokens: Sequence[RowToken], clips: Mapping[int, torch.Tensor], has_audio: bool = True) -> None:
        """
        Makes this the row of `tokens`: what it has of them stays, what it has besides is dropped, the rest is computed in one pass.

        Args:
            tokens: of the row.
            clips: audio embeddings of the clips by number, `(audio tokens, hidden)`; at least as many as the row has tokens of each.
            has_audio: the row has audio, or will have it; otherwise it is the base LLM's.
        """
        self.go_back_to(tokens, has_audio)
        missing = tokens[len(self) :]
        if not missing:
            return
        inputs = self._inputs(missing, clips)
        with torch.no_grad():
            self._model.model(
                **inputs, audio_rows=self._rows(has_audio), use_cache=True, **{CACHE_ARGUMENT: self.cache}
            )
        self._tokens.extend(missing)

    def generation_inputs(self, tokens: Sequence[RowToken], clips: Mapping[int, torch.Tensor]) -> dict[str, Any]:
        """
        Arguments of `generate` for the prompt of `tokens`, with which it computes only what this row lacks of it.

        Args:
            tokens, clips: as in [`compute`]; or a row of text alone.
        """
        has_audio = any(isinstance(token, AudioToken) for token in tokens)
        self.go_back_to(tokens[:-1], has_audio)  # the last token is what the first one of the answer is told from
        known = len(self)
        inputs = self._inputs(tokens[known:], clips)
        input_ids = torch.tensor([[self._id(token) for token in tokens]], device=self._model.device)
        inputs |= {"input_ids": input_ids, "attention_mask": torch.ones_like(input_ids)}
        if "audio_positions" in inputs:
            inputs["audio_positions"] = torch.nn.functional.pad(inputs["audio_positions"], (known, 0))
        return {**inputs, "audio_rows": self._rows(has_audio), CACHE_ARGUMENT: self.cache}

    def add_generated(self, tokens: Sequence[RowToken]) -> None:
        """
        Takes note of what `generate` put into the cache.

        Args:
            tokens: of the prompt and the answer; the last ones may lack keys and values.
        """
        self._tokens = list(tokens[: self.cache.get_seq_length()])

    def go_back_to(self, tokens: Sequence[RowToken], has_audio: bool) -> None:
        """Drops what this row does not have in common with the beginning of another, and keys and values that nobody took note of."""
        same = 0
        if has_audio == self._has_audio:
            for mine, other in zip(self._tokens, tokens, strict=False):
                if mine != other:
                    break
                same += 1
        excess = self.cache.get_seq_length() - same
        if same == 0 or (excess and not self.can_go_back):
            self.cache, same = self._empty_cache(), 0
        elif excess:
            self.cache.crop(-excess)
        self._tokens = self._tokens[:same]
        self._has_audio = has_audio

    def _empty_cache(self) -> DynamicCache:
        return growing_cache(self._model.config.text_config)

    def _rows(self, has_audio: bool) -> torch.Tensor:
        return torch.tensor([has_audio], device=self._model.device)

    def _id(self, token: RowToken) -> int:
        return self._model.config.audio_token_id if isinstance(token, AudioToken) else token

    def _inputs(self, tokens: Sequence[RowToken], clips: Mapping[int, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Inputs of the model for some tokens that follow each other. Of a clip that they begin inside of, they hold whole blocks."""
        device = self._model.device
        ids = [self._id(token) for token in tokens]
        inputs = {"input_ids": torch.tensor([ids], device=device)}
        ranges: dict[int, list[int]] = {}
        for token in tokens:
            if isinstance(token, AudioToken):
                ranges.setdefault(token.clip, []).append(token.place)
        if not ranges:
            return inputs
        parts = [clips[clip][places[0] : places[-1] + 1].to(device) for clip, places in ranges.items()]
        lengths = torch.tensor([len(part) for part in parts], device=device)
        embeds = torch.nn.utils.rnn.pad_sequence(parts, batch_first=True)
        return inputs | {
            "audio_embeds": embeds,
            "audio_embeds_mask": torch.arange(embeds.shape[1], device=device) < lengths[:, None],
            "audio_positions": torch.tensor([[isinstance(token, AudioToken) for token in tokens]], device=device),
        }


__all__ = ["AudioToken", "CachedRow", "RowToken"]
