"""The teacher: a frozen Whisper encoder on the same audio as the student. Training only."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from transformers import AutoConfig, PreTrainedModel, WhisperConfig, WhisperFeatureExtractor
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from ..processing.mixing import SAMPLING_RATE
from ..repo_files import refuse_pickles
from .alignment import FRAMES_PER_TEACHER_STATE, TimeAlignment, num_teacher_states, pool_teacher_states


SAMPLES_PER_STATE = 160 * FRAMES_PER_TEACHER_STATE
STATES_PER_SECOND = SAMPLING_RATE // SAMPLES_PER_STATE

WINDOWS_PER_FORWARD = 16
"""Windows in one forward pass of the encoder: a bound on memory."""


SomeTeacher = TypeVar("SomeTeacher", bound="Teacher")


class _Encoder(WhisperEncoder):
    """The stock encoder; loading it from a whole checkpoint leaves the decoder out without a report."""

    _keys_to_ignore_on_load_unexpected = [r"^(model\.)?decoder\.", r"^proj_out\.", r"^projector\.", r"^classifier\."]


@dataclass
class TeacherOutput:
    """The teacher's states.

    Attributes:
        hidden_states (`tuple` of `torch.FloatTensor` of shape `(batch, states, width)`): one for each layer asked for, 50
            states a second from the start of each clip, right padded with zeros.
        lengths (`torch.LongTensor` of shape `(batch,)`): real states of each clip.
    """

    hidden_states: tuple[torch.Tensor, ...]
    lengths: torch.Tensor


@dataclass(frozen=True)
class _Window:
    """A stretch of one clip that the encoder gets at once, and the states of it to keep. All in states but `samples`."""

    clip: int
    start: int
    samples: int
    keep_from: int
    keep_to: int


class Teacher(ABC):
    """What teachers have in common: a frozen encoder with its feature extractor, whose states are brought to the student's clock.

    Not an `nn.Module`: a model or trainer that holds a teacher takes no weights of it along.
    """

    def __init__(self, encoder: PreTrainedModel, feature_extractor: Any, name_or_path: str) -> None:
        self.encoder = encoder.eval().requires_grad_(False)
        self.feature_extractor = feature_extractor
        self.name_or_path = name_or_path
        self._fingerprint: str | None = None

    @property
    def num_layers(self) -> int:
        """Encoder layers; layer `i` (0-based) is the output of encoder layer `i`, the last one after the closing norm."""
        return self.encoder.config.num_hidden_layers

    @property
    def width(self) -> int:
        """Width of a state."""
        return self.encoder.config.hidden_size

    @property
    def device(self) -> torch.device:
        """Where the encoder is."""
        return self.encoder.device

    def to(self: SomeTeacher, device: torch.device | str) -> SomeTeacher:
        """Move the encoder.

        Args:
            device: such as `"cuda:0"`.

        Returns:
            this teacher.
        """
        self.encoder.to(device)
        return self

    @property
    def fingerprint(self) -> str:
        """A hash of everything that decides the states: weights, architecture, features, dtype, windows."""
        if self._fingerprint is None:
            self._fingerprint = _states_fingerprint(self.encoder, self.feature_extractor, self._window_settings())
        return self._fingerprint

    @abstractmethod
    def __call__(self, waveforms: Sequence[np.ndarray], layers: Sequence[int] | None = None) -> TeacherOutput:
        """The states of some clips.

        Args:
            waveforms (`list` of `np.ndarray` of shape `(samples,)`): mono, float32, 16 kHz, any length above 0.
            layers: 0-based encoder layers to return, in this order. All by default.

        Returns:
            [`TeacherOutput`], float32, on the teacher's device.

        Raises:
            ValueError: for a waveform that is not one-dimensional, is empty or is not finite, or a layer that does not exist.
        """

    def pool(
        self, output: TeacherOutput, num_frames: torch.Tensor, frames_per_token: int, time_alignment: TimeAlignment
    ) -> tuple[list[torch.Tensor], torch.Tensor]:
        """The states at the student's clock.

        Args:
            output: of a call.
            num_frames (`torch.LongTensor` of shape `(batch,)`): of the student's features.
            frames_per_token: feature frames in one audio token.
            time_alignment: how the states in an audio token's window become one.

        Returns:
            states of each layer, `(batch, audio_tokens, width)`, and which audio tokens are real, `(batch, audio_tokens)`.
        """
        pooled = [
            self._pool(states, output.lengths, num_frames, frames_per_token, time_alignment)
            for states in output.hidden_states
        ]
        return [tokens for tokens, _ in pooled], pooled[0][1]

    @abstractmethod
    def _pool(
        self,
        states: torch.Tensor,
        num_states: torch.Tensor,
        num_frames: torch.Tensor,
        frames_per_token: int,
        time_alignment: TimeAlignment,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """[`~Teacher.pool`] of one layer."""

    @abstractmethod
    def _window_settings(self) -> dict[str, Any]:
        """How long clips are cut: settings that decide the states beside the encoder and its features."""


class AuraTeacher(Teacher):
    """A frozen Whisper-family encoder with its own feature extractor.

    Not an `nn.Module` on purpose: set as an attribute of a module or trainer it cannot become part of a checkpoint, of the
    optimizer or of a distributed wrapper.

    Time. State `s` of a clip stands for 20 ms from `0.02 * s` seconds on, whatever its length. Clips up to 30 s are one
    window, padded with silence as Whisper was trained. Longer clips are cut into windows of 30 s of real audio that overlap
    by at least a third of a window; the overlap is cut in the middle, so that every kept state has at least 5 s of context on both
    sides (but at the ends of the clip).

    Args:
        encoder: the encoder; it is frozen and put into evaluation mode.
        feature_extractor: the one it was trained with (80 or 128 mels).
        name_or_path: what to call it in errors and on model cards.
        pad_to_seconds: clips up to 30 s are padded with silence to the next multiple of this. `None` = 30 s, as Whisper
            was trained. A smaller value, such as 5, is many times faster on short clips: the encoder sees a prefix of its
            position embeddings and less silence. States differ a little from those of full padding.

    Example:
        ```python
        teacher = AuraTeacher.from_pretrained("openai/whisper-tiny.en")
        output = teacher([np.zeros(32000, dtype=np.float32)])  # 2 s at 16 kHz
        output.hidden_states[0].shape  # (1, 100, 384)
        ```
    """

    def __init__(
        self,
        encoder: WhisperEncoder,
        feature_extractor: WhisperFeatureExtractor,
        *,
        name_or_path: str = "",
        pad_to_seconds: float | None = None,
    ) -> None:
        if feature_extractor.feature_size != encoder.config.num_mel_bins:
            raise ValueError(
                f"The feature extractor gives {feature_extractor.feature_size} mel bins, the teacher {name_or_path!r} "
                f"expects {encoder.config.num_mel_bins}."
            )
        if feature_extractor.sampling_rate != SAMPLING_RATE or feature_extractor.hop_length != 160:
            raise ValueError(
                f"A teacher must take 16000 Hz at a hop of 160 samples (50 states a second); the feature extractor of "
                f"{name_or_path!r} has {feature_extractor.sampling_rate} Hz and a hop of {feature_extractor.hop_length}."
            )
        super().__init__(encoder, feature_extractor, name_or_path)
        self.states_per_window = encoder.config.max_source_positions
        window_seconds = self.states_per_window / STATES_PER_SECOND
        self.pad_to_seconds = window_seconds if pad_to_seconds is None else pad_to_seconds
        if not 0 < self.pad_to_seconds <= window_seconds:
            raise ValueError(
                f"`pad_to_seconds` must be above 0 and at most {window_seconds:g} (the teacher's window), got {pad_to_seconds}."
            )
        self.margin_seconds = window_seconds / 6

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        revision: str | None = None,
        dtype: torch.dtype = torch.float32,
        **kwargs: Any,
    ) -> AuraTeacher:
        """Load the encoder of a Whisper-family checkpoint (OpenAI's, Distil-Whisper, fine-tuned ones).

        Only the encoder is built and kept; the decoder's weights are skipped.

        Args:
            pretrained_model_name_or_path: Hub id or folder.
            revision: of the Hub repo.
            dtype: of the encoder; states are always returned in float32.
            **kwargs: arguments of [`AuraTeacher`], such as `pad_to_seconds`.

        Returns:
            the teacher, frozen.

        Raises:
            ValueError: if the checkpoint is not of the Whisper family or lacks encoder weights.
        """
        name = str(pretrained_model_name_or_path)
        config = cls._load_config(name, revision)
        refuse_pickles(name, revision=revision)
        encoder, info = _Encoder.from_pretrained(
            name,
            config=config,
            revision=revision,
            dtype=dtype,
            key_mapping={r"^(model\.)?encoder\.": ""},
            output_loading_info=True,
        )
        if info["missing_keys"] or info["mismatched_keys"]:
            missing = sorted(str(key) for key in [*info["missing_keys"], *info["mismatched_keys"]])
            raise ValueError(
                f"{name!r} lacks {len(missing)} of the encoder's weights (first: {missing[0]}); a teacher with random "
                "weights in it teaches nothing. For a random control use `AuraTeacher.from_random`."
            )
        feature_extractor = WhisperFeatureExtractor.from_pretrained(name, revision=revision)
        return cls(encoder, feature_extractor, name_or_path=name, **kwargs)

    @classmethod
    def from_random(
        cls,
        pretrained_model_name_or_path: str | Path | WhisperConfig,
        *,
        seed: int = 0,
        revision: str | None = None,
        **kwargs: Any,
    ) -> AuraTeacher:
        """The control: the architecture of a checkpoint, with weights drawn at random.

        Args:
            pretrained_model_name_or_path: Hub id, folder or config.
            seed: of the weights.
            revision: of the Hub repo.
            **kwargs: arguments of [`AuraTeacher`], such as `pad_to_seconds`.

        Returns:
            the teacher, frozen.
        """
        if isinstance(pretrained_model_name_or_path, WhisperConfig):
            name, config = "WhisperConfig", pretrained_model_name_or_path
            feature_extractor = WhisperFeatureExtractor(feature_size=config.num_mel_bins)
        else:
            name = str(pretrained_model_name_or_path)
            config = cls._load_config(name, revision)
            feature_extractor = WhisperFeatureExtractor.from_pretrained(name, revision=revision)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            encoder = WhisperEncoder(config)
        return cls(encoder, feature_extractor, name_or_path=f"{name} with random weights (seed {seed})", **kwargs)

    @staticmethod
    def _load_config(name: str, revision: str | None) -> WhisperConfig:
        config = AutoConfig.from_pretrained(name, revision=revision)
        if not isinstance(config, WhisperConfig):
            raise ValueError(
                f"A teacher must be of the Whisper family (model_type 'whisper'); {name!r} has model_type "
                f"{config.model_type!r}."
            )
        return config

    def __call__(self, waveforms: Sequence[np.ndarray], layers: Sequence[int] | None = None) -> TeacherOutput:
        layers, clips = checked_layers(layers, self.num_layers), checked_clips(waveforms)
        lengths = [num_teacher_states(-(-clip.size // self.feature_extractor.hop_length)) for clip in clips]
        longest = max(lengths, default=0)
        outputs = [torch.zeros(len(clips), longest, self.width, device=self.device) for _ in layers]
        by_length: dict[int, list[_Window]] = {}
        for index, clip in enumerate(clips):
            for window in self._windows(index, clip.size, lengths[index]):
                by_length.setdefault(window.samples, []).append(window)
        for samples, windows in sorted(by_length.items()):
            for first in range(0, len(windows), WINDOWS_PER_FORWARD):
                chunk = windows[first : first + WINDOWS_PER_FORWARD]
                audio = [clips[w.clip][w.start * SAMPLES_PER_STATE :][:samples] for w in chunk]
                # The teacher has a dtype of its own, and Whisper's features are float32.
                with torch.autocast(self.device.type, enabled=False):
                    encoded = self._encode(audio, samples, layers)
                for output, states in zip(outputs, encoded, strict=True):
                    for row, w in enumerate(chunk):
                        kept = states[row, w.keep_from - w.start : w.keep_to - w.start]
                        output[w.clip, w.keep_from : w.keep_to] = kept
        return TeacherOutput(tuple(outputs), torch.tensor(lengths, dtype=torch.long, device=self.device))

    def _windows(self, clip: int, num_samples: int, num_states: int) -> list[_Window]:
        """Cut one clip into the windows that the encoder gets."""
        size = self.states_per_window
        if num_states <= size:
            pad_states = max(round(self.pad_to_seconds * STATES_PER_SECOND), 1)
            padded = min(-(-num_states // pad_states) * pad_states, size)
            return [_Window(clip, 0, padded * SAMPLES_PER_STATE, 0, num_states)]
        margin = round(self.margin_seconds * STATES_PER_SECOND)
        return [
            _Window(clip, start, size * SAMPLES_PER_STATE, keep_from, keep_to)
            for start, keep_from, keep_to in overlapping_windows(num_states, size, margin)
        ]

    def _pool(
        self,
        states: torch.Tensor,
        num_states: torch.Tensor,
        num_frames: torch.Tensor,
        frames_per_token: int,
        time_alignment: TimeAlignment,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return pool_teacher_states(states, num_frames, frames_per_token, time_alignment)

    def _window_settings(self) -> dict[str, Any]:
        return {"pad_to_seconds": self.pad_to_seconds, "margin_seconds": self.margin_seconds}

    @torch.no_grad()
    def _encode(self, audio: list[np.ndarray], num_samples: int, layers: list[int]) -> list[torch.Tensor]:
        """States `(windows, states, width)` of each layer for windows padded to `num_samples`.

        This is `WhisperEncoder.forward` in evaluation mode, for windows of any length up to its own and only as deep as
        needed.
        """
        encoder = self.encoder
        features = self.feature_extractor(
            audio,
            sampling_rate=SAMPLING_RATE,
            padding="max_length",
            max_length=num_samples,
            truncation=True,
            return_tensors="pt",
        ).input_features.to(encoder.device, encoder.dtype)
        hidden = torch.nn.functional.gelu(encoder.conv1(features))
        hidden = torch.nn.functional.gelu(encoder.conv2(hidden)).permute(0, 2, 1)
        hidden = hidden + encoder.embed_positions.weight[: hidden.shape[1]]
        outputs: dict[int, torch.Tensor] = {}
        for index, layer in enumerate(encoder.layers[: max(layers) + 1]):
            hidden = layer(hidden, None)
            if index in layers:
                outputs[index] = hidden
        if self.num_layers - 1 in outputs:
            outputs[self.num_layers - 1] = encoder.layer_norm(hidden)
        return [outputs[layer].float() for layer in layers]


def checked_layers(layers: Sequence[int] | None, num_layers: int) -> list[int]:
    """The layers that were asked for, all where none were named.

    Raises:
        ValueError: a layer does not exist, or the list is empty.
    """
    asked = list(range(num_layers)) if layers is None else list(layers)
    if not asked or not all(0 <= layer < num_layers for layer in asked):
        raise ValueError(f"The teacher has layers 0 to {num_layers - 1}, asked for {asked}.")
    return asked


def checked_clips(waveforms: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Waveforms as float32.

    Raises:
        ValueError: one is not one-dimensional, is empty or is not finite.
    """
    clips = [np.asarray(waveform, dtype=np.float32) for waveform in waveforms]
    for index, clip in enumerate(clips):
        if clip.ndim != 1 or clip.size == 0:
            raise ValueError(
                f"Waveform {index} has shape {clip.shape}; the teacher expects (samples,), at least one sample."
            )
        if not np.isfinite(clip).all():
            raise ValueError(f"Waveform {index} holds NaN or infinity.")
    return clips


def overlapping_windows(num_states: int, size: int, margin: int) -> list[tuple[int, int, int]]:
    """Windows of `size` states over a clip, each state kept once, with at least `margin` states of its window on both sides (but at the ends of the clip).

    Returns:
        of each window its start, and from where to where it is kept, in states of the clip. A clip that fits into one window has one.
    """
    if num_states <= size:
        return [(0, 0, num_states)]
    # The last window ends with the clip: no window holds padding.
    starts = [*range(0, num_states - size, size - 2 * margin), num_states - size]
    cuts = [0, *((a + b + size) // 2 for a, b in pairwise(starts)), num_states]
    return [(start, cuts[number], cuts[number + 1]) for number, start in enumerate(starts)]


def _states_fingerprint(encoder: PreTrainedModel, feature_extractor: Any, settings: dict[str, Any]) -> str:
    """A hash of an encoder's weights, architecture, features and dtype, and of further settings that decide its states."""
    config = encoder.config.to_diff_dict()
    for key in ("_name_or_path", "transformers_version"):
        config.pop(key, None)
    settings = {"config": config, "features": feature_extractor.to_dict(), "dtype": str(encoder.dtype), **settings}
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    for name, tensor in sorted(encoder.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy())
    return digest.hexdigest()
