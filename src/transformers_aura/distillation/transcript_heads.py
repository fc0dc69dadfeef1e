"""Heads that read the transcript's letters off the student's states at the audio positions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from ..decoding.alphabet import LATIN_ALPHABET, CharacterAlphabet
from ..modeling.ctc_heads import CharacterCTCHead, audio_states


TRANSCRIPT_HEADS_FILE_NAME = "transcript_heads.safetensors"


def transcript_symbols(transcript: str) -> list[int]:
    """The symbols (1 and up) of a transcript for [`TranscriptHeads`]: lower case, punctuation dropped.

    Empty for a transcript with digits or letters beyond a to z: how they are said is not known.
    """
    return CharacterAlphabet(LATIN_ALPHABET).encode(transcript) or []


class TranscriptHeads(nn.Module):
    """One [`CharacterCTCHead`] for each layer.

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
            self.heads = nn.ModuleList(CharacterCTCHead(student_width, LATIN_ALPHABET) for _ in self.layers)

    @property
    def of_patch_embedding(self) -> CharacterCTCHead | None:
        """The head of depth 0, which a student can keep; `None` where there is none."""
        return self.heads[self.layers.index(0)] if 0 in self.layers else None

    def go_on_with(self, head: CharacterCTCHead) -> None:
        """Puts a student's own head in the place of that of depth 0, which must be among the layers."""
        self.heads[self.layers.index(0)] = head

    def forward(self, hidden_states: Sequence[torch.Tensor], is_audio: torch.Tensor) -> list[torch.Tensor]:
        """Logits of every layer, `(rows, steps, symbols)`, steps right padded.

        Args:
            hidden_states: `(rows, sequence, student_width)` for each depth from 0 on.
            is_audio (`torch.BoolTensor` of shape `(rows, sequence)`): audio positions, one clip a row.
        """
        return [
            head(audio_states(hidden_states[layer], is_audio))
            for layer, head in zip(self.layers, self.heads, strict=True)
        ]

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
            raise FileNotFoundError(f"{path} does not exist, but this run has `character_ctc_weight` above 0.")
        try:
            self.load_state_dict(load_file(str(path)))
        except RuntimeError as error:
            raise ValueError(
                f"{path} holds other heads than this run's `character_ctc_layers={self.layers}`: {error}"
            ) from error
