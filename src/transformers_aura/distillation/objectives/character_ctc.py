"""CTC on the characters of the transcript, told from the audio patch embeddings by the student's character CTC head."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from ...decoding.alphabet import CharacterAlphabet, is_word_character, normalize
from ...modeling.ctc_heads import STEPS_PER_TOKEN
from ...modeling.modeling_aura import AuraForSpeechQA
from ..ctc import ctc_loss
from ..examples import ExampleBatch, pad_tokens
from ..heads import DistillationHeads
from ..student_outputs import StudentOutputs
from .ctc_objective import CTCObjective


@dataclass(frozen=True)
class TranscriptSymbols:
    """Makes the columns of the transcripts' characters.

    Args:
        alphabet: of the character CTC head, see [`~transformers_aura.decoding.alphabet.CharacterAlphabet`].
    """

    alphabet: str

    def __call__(self, batch: ExampleBatch) -> dict[str, Any]:
        """
        Returns:
            `transcript_symbols` (`torch.LongTensor` of shape `(rows, characters)`, right padded), `transcript_lengths` (`(rows,)`; 0 = no transcript,
            or one that cannot be encoded), `has_transcript` (`torch.BoolTensor` of shape `(rows,)`) and `unknown_character` (`(rows,)`): the code point
            of a character for which the transcript cannot be encoded; 0 = it can.
        """
        alphabet = CharacterAlphabet(self.alphabet)
        transcripts = [example.transcript for example in batch.examples]
        symbols = [None if text is None else alphabet.encode(text) for text in transcripts]
        padded, lengths = pad_tokens([row or [] for row in symbols])
        unknown = [
            0 if text is None or row is not None else _unknown_character(alphabet, text)
            for text, row in zip(transcripts, symbols, strict=True)
        ]
        return {
            "transcript_symbols": padded,
            "transcript_lengths": lengths,
            "has_transcript": torch.tensor([text is not None for text in transcripts], dtype=torch.bool),
            "unknown_character": torch.tensor(unknown, dtype=torch.long),
        }


def _unknown_character(alphabet: CharacterAlphabet, text: str) -> int:
    """The code point of the first character for which a text cannot be encoded."""
    unknown = (c for c in normalize(text) if alphabet.symbol(c) is None and is_word_character(c))
    return ord(next(unknown))


class CharacterCTCObjective(CTCObjective):
    r"""`-log p(characters | audio patch embeddings)` of each transcript, summed over all alignments, in nats; per character.

    It tells the student which sounds are where without an alignment, which next-token cross-entropy has to find out first. A clip that is too short
    for its transcript is left out. The head is the student's own: `character_ctc_alphabet` of its config makes one.

    A transcript with a character that is said and not in the alphabet (a digit, where the alphabet has none) cannot be encoded, so it is left out, see
    [`CTCObjective`].

    References:
        - Connectionist Temporal Classification (Graves et al., 2006)
        - Joint CTC-Attention based End-to-End Speech Recognition: https://arxiv.org/abs/1609.06773

    Inputs of `ctc_loss`:
        | argument         | shape                     | meaning                                             |
        |------------------|---------------------------|-----------------------------------------------------|
        | `logits`         | `(clips, frames, symbols)`| symbol 0 is the blank; 50 frames a second           |
        | `logit_lengths`  | `(clips,)`                | frames of each clip                                 |
        | `targets`        | `(clips, characters)`     | symbols of the transcript, 1 and up                 |
        | `target_lengths` | `(clips,)`                | characters of each transcript; 0 = has none         |
        | returns          | `(clips,)`                | negative log-likelihood, nats; 0 without transcript |

    Example:
        >>> import torch
        >>> from transformers_aura.distillation.ctc import ctc_loss
        >>> logits = torch.zeros(1, 1, 2)  # one frame, blank or "a": p("a") = 1/2
        >>> ctc_loss(logits, torch.tensor([1]), torch.tensor([[1]]), torch.tensor([1])).exp()
        tensor([2.])
    """

    name = "character_ctc"
    trained_head = "character_ctc_head"
    depths = (0,)
    symbols = "transcript_symbols"
    lengths = "transcript_lengths"
    frames_per_token = STEPS_PER_TOKEN

    def prepare(self, student: AuraForSpeechQA, heads: DistillationHeads | None) -> None:
        super().prepare(student, heads)
        if student.config.character_ctc_alphabet is None:
            raise ValueError(
                "CTC on characters (`character_ctc_weight` above 0) trains the student's character CTC head, and this student has none. Set "
                '`character_ctc_alphabet` (`model.character_ctc_alphabet` of a recipe), such as " abcdefghijklmnopqrstuvwxyz\'"; in a recipe, `auto` takes the '
                "characters of the transcripts."
            )
        self.alphabet = student.config.character_ctc_alphabet
        self.columns = (TranscriptSymbols(self.alphabet),)
        self._unknown = torch.zeros((), dtype=torch.long, device=student.device)

    def num_transcripts(self, batch: Mapping[str, Any]) -> torch.Tensor:
        return batch["has_transcript"].sum()

    def loss(self, outputs: StudentOutputs) -> torch.Tensor:
        batch = outputs.batch
        self._unknown = torch.maximum(self._unknown.to(outputs.is_audio.device), batch["unknown_character"].max())
        head = outputs.student.model.character_ctc_head
        assert head is not None
        logits = head(outputs.audio_states(0))
        frames = outputs.num_audio_tokens * STEPS_PER_TOKEN
        return ctc_loss(logits, frames, batch["transcript_symbols"], batch["transcript_lengths"]).sum()

    @property
    def demand(self) -> str:
        if not int(self._unknown):
            return super().demand
        return f"be written with `character_ctc_alphabet={self.alphabet!r}` (of these one holds {chr(int(self._unknown))!r}), and {super().demand}"

    @property
    def remedy(self) -> str:
        if not int(self._unknown):
            return super().remedy
        return "Set an alphabet that has what these transcripts are written with"
