"""Prompts with clips: what each asks for, and how a clip in one is put into words."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .configuration_aura import AuraConfig


@dataclass
class PromptBatch:
    """Prompts and their clips.

    Attributes:
        rows: token ids of each prompt, without padding.
        features: log-mel frames of each prompt's clips, `(num_audios, num_frames, num_mel_bins)`.
        masks: of the frames, `(num_audios, num_frames)`.
    """

    rows: list[torch.Tensor]
    features: list[torch.Tensor]
    masks: list[torch.Tensor]

    def inputs(self, pad_token_id: int) -> dict[str, torch.Tensor]:
        """As arguments of `generate`; text is padded on the left."""
        longest = max(len(row) for row in self.rows)
        input_ids = self.rows[0].new_full((len(self.rows), longest), pad_token_id)
        attention_mask = torch.zeros_like(input_ids)
        for index, row in enumerate(self.rows):
            input_ids[index, longest - len(row) :] = row
            attention_mask[index, longest - len(row) :] = 1
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask}
        if any(len(features) for features in self.features):
            inputs["input_features"] = torch.cat(self.features)
            inputs["input_features_mask"] = torch.cat(self.masks)
        return inputs

    def select(self, indices: list[int]) -> PromptBatch:
        """Some of the prompts."""
        return PromptBatch(
            *([values[index] for index in indices] for values in (self.rows, self.features, self.masks))
        )


class PromptReader:
    """What a prompt asks for, by the tokens behind its audio.

    Args:
        config: of the student.
    """

    def __init__(self, config: AuraConfig) -> None:
        self._audio_token_id = config.audio_token_id
        self._transcription = config.transcription_prompt
        self._question = config.spoken_question_prompt if config.answers_from_transcript else None
        self._by_ear = config.questions_by_ear

    def asks_for_transcript(self, row: torch.Tensor) -> bool:
        return self._transcription is not None and self._behind_audio(row) == self._transcription

    def is_written_down(self, row: torch.Tensor) -> bool:
        """Whether its clips are written down, and the answer is to what was written."""
        behind = self._behind_audio(row)
        if self._question is None or behind is None or behind == self._transcription:
            return False
        if self._by_ear is None:  # a spoken question of one clip
            positions = self._positions(row)
            return behind == self._question and len(positions) == positions[-1] - positions[0] + 1
        return not any(behind[: len(beginning)] == beginning for beginning in self._by_ear)

    def first_clip_is_question(self, row: torch.Tensor, length: int) -> bool:
        """Whether the prompt's first clip, of `length` audio tokens, is all that its message says."""
        behind = row[int(self._positions(row)[0]) + length :].tolist()
        return self._question is not None and behind[: len(self._question)] == self._question

    def first_clip_as_transcription(self, row: torch.Tensor, length: int) -> torch.Tensor:
        """The prompt that asks for the transcript of this prompt's first clip, of `length` audio tokens."""
        return torch.cat([row[: int(self._positions(row)[0]) + length], row.new_tensor(self._transcription)])

    def before_audio(self, row: torch.Tensor) -> list[int]:
        """The text before the first clip."""
        return row[: int(self._positions(row)[0])].tolist()

    def with_words(self, row: torch.Tensor, length: int, words: torch.Tensor) -> torch.Tensor:
        """The prompt with `words` in the place of its first clip, of `length` audio tokens."""
        first = int(self._positions(row)[0])
        return torch.cat([row[:first], words, row[first + length :]])

    def _positions(self, row: torch.Tensor) -> torch.Tensor:
        return (row == self._audio_token_id).nonzero().flatten()

    def _behind_audio(self, row: torch.Tensor) -> list[int] | None:
        positions = self._positions(row)
        return row[int(positions[-1]) + 1 :].tolist() if len(positions) else None
