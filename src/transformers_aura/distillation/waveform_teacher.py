"""A second teacher: a frozen encoder that reads the waveform itself (wav2vec2, HuBERT, WavLM and their kin). Training only."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoConfig, AutoFeatureExtractor, AutoModel, PreTrainedConfig, PreTrainedModel

from ..processing.mixing import SAMPLING_RATE
from ..repo_files import refuse_pickles
from .alignment import TimeAlignment
from .state_clock import StateClock
from .teacher import Teacher, TeacherOutput, checked_clips, checked_layers, overlapping_windows


STATES_PER_WINDOW = 1500
"""States of a window (30 s at 50 a second); longer clips are cut into windows that overlap by a third."""

UNUSED_WEIGHTS = {"masked_spec_embed"}
"""Weights that a checkpoint may lack: of pre-training."""


class WaveformTeacher(Teacher):
    """A frozen encoder over the waveform, with its own feature extractor: what it keeps of a voice is not what a recogniser of words keeps.

    Any encoder of transformers whose config tells its convolutions over the waveform (`conv_kernel`, `conv_stride`): wav2vec2, HuBERT, WavLM,
    data2vec-audio, UniSpeech, UniSpeech-SAT. Encoders of a spectrogram of fixed length, such as CLAP's, have no states that follow the clip in time.

    Each clip goes through the encoder by itself, so that its states do not depend on the clips beside it. Not an `nn.Module`, as [`AuraTeacher`].

    Args:
        encoder: the encoder; it is frozen and put into evaluation mode.
        feature_extractor: the one it was trained with, at 16 kHz.
        name_or_path: what to call it in errors.

    Example:
        ```python
        teacher = WaveformTeacher.from_pretrained("microsoft/wavlm-base-plus")
        output = teacher([np.zeros(32000, dtype=np.float32)])  # 2 s at 16 kHz
        output.hidden_states[0].shape  # (1, 99, 768)
        ```
    """

    def __init__(self, encoder: PreTrainedModel, feature_extractor: Any, *, name_or_path: str = "") -> None:
        _check_config(encoder.config, name_or_path)
        if feature_extractor.sampling_rate != SAMPLING_RATE:
            raise ValueError(
                f"A teacher must take 16000 Hz; the feature extractor of {name_or_path!r} takes {feature_extractor.sampling_rate} Hz."
            )
        super().__init__(encoder, feature_extractor, name_or_path)
        self.clock = StateClock.of_convolutions(encoder.config.conv_kernel, encoder.config.conv_stride)

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        revision: str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> WaveformTeacher:
        """Load the encoder of a checkpoint; heads on top of it (CTC, classification) are left out.

        Args:
            pretrained_model_name_or_path: Hub id or folder, with safetensors.
            revision: of the Hub repo.
            dtype: of the encoder; states are always returned in float32.

        Returns:
            the teacher, on the CPU.

        Raises:
            ValueError: the model is of another kind, or the checkpoint lacks weights of the encoder.
        """
        name = str(pretrained_model_name_or_path)
        config = AutoConfig.from_pretrained(name, revision=revision)
        _check_config(config, name)
        refuse_pickles(name, revision=revision)
        encoder, info = AutoModel.from_pretrained(
            name, config=config, revision=revision, dtype=dtype, use_safetensors=True, output_loading_info=True
        )
        lacking = sorted({*map(str, info["missing_keys"]), *map(str, info["mismatched_keys"])} - UNUSED_WEIGHTS)
        if lacking:
            raise ValueError(
                f"{name!r} lacks {len(lacking)} of the encoder's weights (first: {lacking[0]}); a teacher with random weights in it teaches nothing."
            )
        return cls(encoder, AutoFeatureExtractor.from_pretrained(name, revision=revision), name_or_path=name)

    def __call__(self, waveforms: Sequence[np.ndarray], layers: Sequence[int] | None = None) -> TeacherOutput:
        """The states of some clips; a clip that is shorter than one receptive field (25 ms) is filled up with silence.

        Args:
            waveforms: float32 `(n_samples,)` each, at 16 kHz.
            layers: 0-based numbers of encoder layers; all of them by default.

        Returns:
            for each layer `(batch, states, width)` in float32, and the states of each clip.
        """
        asked = checked_layers(layers, self.num_layers)
        of_clips = [self._states(clip, asked) for clip in checked_clips(waveforms)]
        lengths = [states.shape[1] for states in of_clips]
        outputs = torch.zeros(len(asked), len(of_clips), max(lengths, default=0), self.width, device=self.device)
        for row, states in enumerate(of_clips):
            outputs[:, row, : states.shape[1]] = states
        return TeacherOutput(tuple(outputs), torch.tensor(lengths, dtype=torch.long, device=self.device))

    def _pool(
        self,
        states: torch.Tensor,
        num_states: torch.Tensor,
        num_frames: torch.Tensor,
        frames_per_token: int,
        time_alignment: TimeAlignment,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return self.clock.pool(states, num_states, num_frames, frames_per_token, time_alignment)

    def _window_settings(self) -> dict[str, Any]:
        return {"states_per_window": STATES_PER_WINDOW}

    @torch.no_grad()
    def _states(self, clip: np.ndarray, layers: list[int]) -> torch.Tensor:
        """States of one clip, `(layers, states, width)`, float32."""
        clip = np.pad(clip, (0, max(self.clock.receptive_field - clip.size, 0)))
        features = self.feature_extractor(clip, sampling_rate=SAMPLING_RATE, return_tensors="pt").input_values
        features = features.to(self.device, self.encoder.dtype)
        num_states = self.clock.num_states(clip.size)
        kept = []
        for start, keep_from, keep_to in overlapping_windows(num_states, STATES_PER_WINDOW, STATES_PER_WINDOW // 6):
            stop = min(start + STATES_PER_WINDOW, num_states) - 1
            first = start * self.clock.samples_per_state
            last = stop * self.clock.samples_per_state + self.clock.receptive_field
            if stop + 1 == num_states:
                last = clip.size  # the rest is no state of its own, but norms over time see it
            # The teacher has a dtype of its own.
            with torch.autocast(self.device.type, enabled=False):
                outputs = self.encoder(features[:, first:last], output_hidden_states=True)
            states = torch.stack([outputs.hidden_states[layer + 1][0] for layer in layers]).float()
            if states.shape[1] != stop + 1 - start:
                raise ValueError(
                    f"{self.name_or_path!r} gives {states.shape[1]} states where its convolutions make {stop + 1 - start}: it is no teacher of this kind."
                )
            kept.append(states[:, keep_from - start : keep_to - start])
        return torch.cat(kept, dim=1)


def _check_config(config: PreTrainedConfig, name: str) -> None:
    settings = config.to_dict()
    if not {"conv_kernel", "conv_stride", "num_hidden_layers", "hidden_size"} <= settings.keys():
        raise ValueError(
            f"{name!r} is a {config.model_type}. A second teacher is an encoder whose convolutions run over the waveform (wav2vec2, hubert, wavlm, "
            "data2vec-audio, unispeech, ...), or of the Whisper family (`AuraTeacher`): its states must follow the clip in time."
        )
