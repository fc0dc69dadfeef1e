"""Prompts with clips: what each asks for, and how a clip in one is put into words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn.functional import pad

from .configuration_aura import AuraConfig


@dataclass
class PromptBatch:
    """Prompts and their clips.

    Attributes:
        rows: token ids of each prompt, without padding.
        features: log-mel frames of each prompt's clips, `(num_audios, num_frames, num_mel_bins)`.
        masks: of the frames, `True` = a real one, `(num_audios, num_frames)`.
    """

    rows: list[torch.Tensor]
    features: list[torch.Tensor]
    masks: list[torch.Tensor]

    def inputs(self, pad_token_id: int) -> dict[str, torch.Tensor]:
        """As arguments of `generate`; text is padded on the left, frames on the right."""
        longest = max(len(row) for row in self.rows)
        input_ids = self.rows[0].new_full((len(self.rows), longest), pad_token_id)
        attention_mask = torch.zeros_like(input_ids)
        for index, row in enumerate(self.rows):
            input_ids[index, longest - len(row) :] = row
            attention_mask[index, longest - len(row) :] = 1
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask}
        if any(len(features) for features in self.features):
            frames = max(mask.shape[1] for mask in self.masks if len(mask))
            heard = [(features, mask) for features, mask in zip(self.features, self.masks, strict=True) if len(mask)]
            inputs["input_features"] = torch.cat([_pad_frames(features, frames) for features, _ in heard])
            inputs["input_features_mask"] = torch.cat([_pad_frames(mask, frames) for _, mask in heard])
        return inputs

    @staticmethod
    def together(batches: Sequence[PromptBatch]) -> PromptBatch:
        """All prompts of several batches."""
        fields = ("rows", "features", "masks")
        return PromptBatch(*([each for batch in batches for each in getattr(batch, name)] for name in fields))

    def select(self, indices: list[int]) -> PromptBatch:
        """Some of the prompts."""
        return PromptBatch(
            *([values[index] for index in indices] for values in (self.rows, self.features, self.masks))
        )


def replace_last(clips: torch.Tensor, clip: torch.Tensor) -> torch.Tensor:
    """Clips with another in the place of the last, all padded on the right to the longer of the two.

    Args:
        clips: frames or masks of frames, `(num_audios, num_frames, ...)`.
        clip: `(1, num_frames, ...)`.
    """
    if len(clips) == 1:
        return clip
    return torch.cat([clips[:-1], _pad_frames(clip, clips.shape[1])])


def _pad_frames(clips: torch.Tensor, num_frames: int) -> torch.Tensor:
    return pad(clips, (0,) * (2 * clips.ndim - 3) + (num_frames - clips.shape[1],))


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
        """Whether what stands behind its last clip asks for the transcript."""
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

    def last_clip_as(self, row: torch.Tensor, length: int) -> torch.Tensor:
        """The prompt with a clip of `length` audio tokens in the place of its last one."""
        positions = self.last_clip(row)
        clip = row.new_full((length,), self._audio_token_id)
        return torch.cat([row[: int(positions[0])], clip, row[int(positions[-1]) + 1 :]])

    def last_clip(self, row: torch.Tensor) -> torch.Tensor:
        """Positions of the audio tokens of the prompt's last clip."""
        positions = self._positions(row)
        breaks = (positions.diff() > 1).nonzero().flatten()
        return positions if not len(breaks) else positions[int(breaks[-1]) + 1 :]

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
