"""Heads that read the transcript's characters off the student's states at the audio positions; training only."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from ..modeling.token_head import audio_states


TRANSCRIPT_HEADS_FILE_NAME = "transcript_heads.safetensors"

CHARACTERS = " abcdefghijklmnopqrstuvwxyz'"
STEPS_PER_TOKEN = 4
"""Characters that an audio token may tell: 50 a second at 12.5 audio tokens a second, three times what people say."""


def transcript_symbols(transcript: str) -> list[int]:
    """The symbols (1 and up) of a transcript for [`TranscriptHeads`]: lower case, punctuation dropped.

    Empty for a transcript with digits or letters beyond a to z: how they are said is not known.
    """
    text = transcript.lower().replace("’", "'").replace("-", " ")
    text = re.sub(r"[.,;:!?\"()]+", " ", text)
    text = re.sub(r"\s+", " ", text).strip()
    if any(character not in CHARACTERS for character in text):
        return []
    return [CHARACTERS.index(character) + 1 for character in text]


class TranscriptHeads(nn.Module):
    """One head for each layer: RMSNorm, then a Linear to [`STEPS_PER_TOKEN`] x (blank + [`CHARACTERS`]).

    Args:
        layers: depths, 0 = the patch embedding's output, `n` = the output of the first `n` decoder layers.
        student_width: hidden size of the student.
        seed: of the initial weights, independent of the global random state.
    """

    def __init__(self, layers: Sequence[int], student_width: int, seed: int = 0) -> None:
        super().__init__()
        self.layers = list(layers)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.heads = nn.ModuleList(
                nn.Sequential(
                    nn.RMSNorm(student_width, eps=1e-6),
                    nn.Linear(student_width, STEPS_PER_TOKEN * (1 + len(CHARACTERS))),
                )
                for _ in self.layers
            )

    def forward(self, hidden_states: Sequence[torch.Tensor], is_audio: torch.Tensor) -> list[torch.Tensor]:
        """Logits of every layer, `(rows, steps, symbols)`, steps right padded.

        Args:
            hidden_states: `(rows, sequence, student_width)` for each depth from 0 on.
            is_audio (`torch.BoolTensor` of shape `(rows, sequence)`): audio positions, one clip a row.
        """
        logits = []
        for layer, head in zip(self.layers, self.heads, strict=True):
            values = head(audio_states(hidden_states[layer], is_audio).to(head[1].weight.dtype))
            logits.append(values.view(len(values), values.shape[1] * STEPS_PER_TOKEN, 1 + len(CHARACTERS)))
        return logits

    def save(self, path: Path) -> None:
        """Write the heads to one safetensors file."""
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self.state_dict().items()}
        save_file(tensors, str(path))

    def load_from(self, path: Path) -> None:
        """Take over the heads in `path`, which must be for as many layers of the same width.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it holds other heads.
        """
        if not Path(path).is_file():
            raise FileNotFoundError(f"{path} does not exist, but this run has `ctc_weight` above 0.")
        try:
            self.load_state_dict(load_file(str(path)))
        except RuntimeError as error:
            raise ValueError(
                f"{path} holds other heads than this run's `ctc_layers={self.layers}`: {error}"
            ) from error
