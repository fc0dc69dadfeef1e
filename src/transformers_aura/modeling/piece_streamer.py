"""One text for a streamer, of pieces that are written one after the other."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import torch
from transformers.generation.streamers import BaseStreamer


class PieceStreamer(BaseStreamer):
    """Passes on what is written of the pieces of a recording as if it were written in one go.

    Each piece is a call of `generate`, which gives a streamer the prompt, then the new tokens, then the end. Passed on are one prompt, the tokens
    of all pieces with a space between two, and, when it is closed, the end.

    Args:
        streamer: of the caller.
        prompts: token ids of the prompts as the caller gave them, `(rows, tokens)`.
        space: token ids of a space.
        eos_token_ids: what ends a text.
    """

    def __init__(
        self, streamer: Any, prompts: torch.Tensor, space: Sequence[int], eos_token_ids: Collection[int]
    ) -> None:
        self._streamer = streamer
        self._space = torch.tensor(space, dtype=torch.long)
        self._eos_token_ids = eos_token_ids
        self._is_prompt = True
        self._is_first_piece = self._is_first_token = True
        self._ends: list[int] = []
        streamer.put(prompts.cpu())

    def put(self, value: torch.Tensor) -> None:
        """Takes the prompt of a piece, or its next tokens."""
        if self._is_prompt:
            self._is_prompt = False
            return
        tokens = value.flatten().tolist()
        text = [token for token in tokens if token not in self._eos_token_ids]
        self._ends = [token for token in tokens if token in self._eos_token_ids]
        if text:
            if self._is_first_token and not self._is_first_piece and len(self._space):
                self._streamer.put(self._space)
            self._is_first_token = False
            self._streamer.put(torch.tensor(text))

    def end(self) -> None:
        """Ends a piece."""
        self._is_prompt = self._is_first_token = True
        self._is_first_piece = False

    def close(self) -> None:
        """Ends the text."""
        if self._ends:
            self._streamer.put(torch.tensor(self._ends))
        self._streamer.end()
