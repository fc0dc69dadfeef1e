"""One recording as it comes in: samples to audio embeddings part by part, what is said in them, and which silence is left out."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ..decoding.alphabet import CharacterAlphabet
from ..decoding.ctc import Emissions, labelling_of_path
from ..decoding.speech_detection import contains_speech, frames_since_speech
from ..modeling.audio_embedding import ConvolutionPast
from ..modeling.modeling_aura import AuraForSpeechQA
from ..processing.audio_tokens import num_audio_tokens
from ..processing.feature_extraction_aura import AuraFeatureExtractor


LONGEST_SILENCE_SECONDS = 30.0
"""Of a longer silence this much is kept, and the part in which speech returns with the one before it; what lies between is left out."""

_SHORTEST_PART_TOKENS = 8
"""Blocks of fewer audio tokens are embedded several at a time."""

_FRAMES_BETWEEN_LOOKS = 24
"""Log-mel frames after which a part that is not complete is looked into again; 0.24 s."""


@dataclass(frozen=True)
class ClipPart:
    """
    Some audio tokens that follow each other, whole blocks but for the last of a clip.

    Attributes:
        embeddings: `(audio tokens, hidden)`.
        emissions: of the character CTC head, `(frames, 1 + characters)`; `None` without one.
    """

    embeddings: torch.Tensor
    emissions: Emissions | None

    def path(self) -> NDArray[np.integer]:
        """The likeliest symbol of each frame."""
        return np.empty(0, np.int64) if self.emissions is None else self.emissions.argmax(axis=1)


@dataclass(frozen=True)
class EndedClip:
    """
    A recording that has ended.

    Attributes:
        embeddings: `(audio tokens, hidden)`.
        heard: whether anybody speaks in it; `None` for a student without a character CTC head.
    """

    embeddings: torch.Tensor
    heard: bool | None


class IncomingClip:
    """
    A recording that comes in.

    Args:
        number: tells it from others.
        model: the student.
        feature_extractor: of its processor.
        keeps_silence: keep silence before anybody speaks, up to [`LONGEST_SILENCE_SECONDS`]; otherwise the clip begins with the part before the one in
            which somebody does.
    """

    def __init__(
        self, number: int, model: AuraForSpeechQA, feature_extractor: AuraFeatureExtractor, keeps_silence: bool
    ) -> None:
        self.number = number
        self.parts: list[ClipPart] = []
        """Complete parts that are kept."""
        self.num_tokens = 0
        """Audio tokens of `parts`."""
        self.num_samples = 0
        """Samples that came in."""
        self._model = model
        self._feature_extractor = feature_extractor
        self._features = feature_extractor.stream()
        audio_config = model.config.audio_config
        self._frames_per_token = audio_config.frames_per_token
        self._tokens_per_second = audio_config.tokens_per_second
        block = audio_config.tokens_per_block
        least = model.model.embed_audio.tokens_per_part if block is None else block
        self.tokens_per_part = None if least is None else max(1, _SHORTEST_PART_TOKENS // least) * least
        """`None`: the clip can be embedded only when it has ended."""
        self._may_leave_out = model.model.character_ctc_head is not None and block is not None
        self._longest_silence = round(LONGEST_SILENCE_SECONDS * self._tokens_per_second)
        self._keeps_silence = keeps_silence
        self._pending = np.empty((0, feature_extractor.feature_size), np.float32)
        self._past: ConvolutionPast = {}
        self._heard = False
        self._before: ClipPart | None = None
        self._left_out: ClipPart | None = None
        self._silent_tokens = 0
        self._silent_frames = 0
        self._look: tuple[int, int, ClipPart] | None = None

    @property
    def seconds(self) -> float:
        """How much came in."""
        return self.num_samples / self._feature_extractor.sampling_rate

    def samples_to_next_part(self) -> int:
        """So many samples at most may come in before there is another part; at least 1."""
        hop = self._feature_extractor.hop_length
        if self.tokens_per_part is None:
            return 2**31
        missing = self.tokens_per_part * self._frames_per_token - len(self._pending)
        return missing * hop - self.num_samples % hop

    def tokens_with(self, num_samples: int) -> int:
        """Audio tokens of the clip if so many samples more came in; while silence is left out, those that it has."""
        if self._leaves_out(self.tokens_per_part or 0):
            return self.num_tokens
        missing = self._feature_extractor.num_frames(self.num_samples + num_samples) - self._features.num_frames
        return self.num_tokens + num_audio_tokens(len(self._pending) + missing, self._frames_per_token)

    def push(self, samples: NDArray[np.float32]) -> None:
        """Takes samples, `(n_samples,)`, no more than [`samples_to_next_part`]."""
        self.num_samples += len(samples)
        self._pending = np.concatenate([self._pending, self._features.push(samples)])
        if self.tokens_per_part is None:
            return
        if len(self._pending) == self.tokens_per_part * self._frames_per_token:
            self._add(self._embed(self._pending, self._past))
            self._pending = self._pending[:0]

    def heard(self) -> bool | None:
        """Whether anybody spoke so far; `None` for a student without a character CTC head."""
        if self._model.model.character_ctc_head is None:
            return None
        return self._heard or self._has_speech(self._look_ahead(_FRAMES_BETWEEN_LOOKS))

    def seconds_since_speech(self, is_exact: bool = False) -> float:
        """How long nothing was said by now, or by 0.24 s ago at most if it need not be exact. Needs a character CTC head."""
        look = self._look_ahead(1 if is_exact else _FRAMES_BETWEEN_LOOKS)
        silent = self._silent_frames_with(look)
        return silent / self._model.character_frames_per_second

    def captions(self) -> str:
        """The characters so far, as the likeliest path of the character CTC head has them."""
        alphabet = CharacterAlphabet(self._model.config.character_ctc_alphabet)
        paths = [part.path() for part in [*self.parts, *self._kept_with(self._look_ahead(1))]]
        symbols = labelling_of_path(np.concatenate(paths)) if paths else []
        return alphabet.decode(symbols)

    def ended(self) -> EndedClip:
        """The clip as it is if nothing more comes in. More may come in all the same."""
        # The extractor itself is shared, not copied.
        features = copy.deepcopy(self._features, {id(self._feature_extractor): self._feature_extractor})
        last_frame = features.finish()
        if len(last_frame):
            rest = self._embed(np.concatenate([self._pending, last_frame]), dict(self._past))
        else:
            rest = self._look_ahead(1)
        parts = [*self.parts, *self._kept_with(rest)]
        embeddings = torch.cat([part.embeddings for part in parts] or [rest.embeddings[:0]])
        if self._model.model.character_ctc_head is None:
            return EndedClip(embeddings, None if self.num_samples else False)
        emissions = [part.emissions for part in parts if part.emissions is not None]
        heard = bool(emissions) and contains_speech(np.concatenate(emissions), self._model.character_frames_per_second)
        return EndedClip(embeddings, heard)

    def _add(self, part: ClipPart) -> None:
        kept, has_speech = self._kept_with(part), self._has_speech(part)
        self.parts += kept
        self.num_tokens += sum(len(kept_part.embeddings) for kept_part in kept)
        self._left_out = None if kept else part
        self._heard = self._heard or has_speech
        self._silent_tokens = 0 if has_speech else self._silent_tokens + len(part.embeddings)
        self._silent_frames = self._silent_frames_with(part)
        self._before = part

    def _kept_with(self, part: ClipPart) -> list[ClipPart]:
        """What the clip is longer by with this part: it, it and the one before that was left out, or nothing."""
        if not self._leaves_out(len(part.embeddings)):
            return [part] if len(part.embeddings) else []
        if not self._has_speech(part):
            return []
        return [part] if self._left_out is None else [self._left_out, part]

    def _leaves_out(self, num_tokens: int) -> bool:
        """Whether a next part of so many tokens is left out if nothing is said in it."""
        longest = self._longest_silence if self._keeps_silence or self._heard else 0
        return self._may_leave_out and self._silent_tokens + num_tokens > longest

    def _has_speech(self, part: ClipPart) -> bool:
        """Whether somebody speaks in a part that comes next, or on the way into it."""
        if part.emissions is None:
            return False
        before = [] if self._before is None or self._before.emissions is None else [self._before.emissions]
        return contains_speech(np.concatenate([*before, part.emissions]), self._model.character_frames_per_second)

    def _silent_frames_with(self, part: ClipPart) -> int:
        path = part.path()
        silent = frames_since_speech(path)
        return self._silent_frames + silent if silent == len(path) else silent

    def _look_ahead(self, most_frames_behind: int) -> ClipPart:
        """The part that is not complete yet, as it would be if the clip ended here, or fewer frames ago than so many."""
        num_frames = self._features.num_frames
        complete = num_frames - len(self._pending)
        if self._look is None or self._look[0] != complete or num_frames - self._look[1] >= most_frames_behind:
            self._look = complete, num_frames, self._embed(self._pending, dict(self._past))
        return self._look[2]

    @torch.no_grad()
    def _embed(self, frames: NDArray[np.float32], past: ConvolutionPast) -> ClipPart:
        """Embeds frames that follow the ones before, `(frames, mel bins)`."""
        model = self._model.model
        if len(frames):
            features = torch.from_numpy(frames)[None].to(self._model.device)
            mask = torch.ones(features.shape[:2], dtype=torch.bool, device=features.device)
            embeddings = model.embed_audio(features, mask, past=past)[0][0]
        else:
            embeddings = model.embed_audio.norm.weight.new_empty(0, self._model.config.text_config.hidden_size)
        if model.character_ctc_head is None:
            return ClipPart(embeddings, None)
        return ClipPart(embeddings, model.character_ctc_head.log_probabilities(embeddings).cpu().numpy())


__all__ = ["LONGEST_SILENCE_SECONDS", "ClipPart", "EndedClip", "IncomingClip"]
