"""Recordings on their way into vLLM: resampled as in transformers, one clip at a time, with one placeholder token for each audio token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from transformers import BatchFeature
from vllm.config.multimodal import MultiModalDummyOptions
from vllm.inputs import MultiModalDataDict
from vllm.multimodal.audio import AudioResampler
from vllm.multimodal.inputs import MultiModalFieldConfig, MultiModalKwargsItems
from vllm.multimodal.parse import MultiModalDataItems, MultiModalDataParser
from vllm.multimodal.processing import (
    BaseDummyInputsBuilder,
    BaseMultiModalProcessor,
    BaseProcessingInfo,
    PromptReplacement,
    PromptUpdate,
)

from ..processing.audio_loading import load_audio
from ..processing.audio_tokens import AUDIO_TOKEN, num_audio_tokens
from ..processing.processing_aura import AuraProcessor


class AuraResampler(AudioResampler):
    """Checks and resamples as [`load_audio`] does, so that a recording gives the same features as in transformers."""

    def resample(self, audio: NDArray[np.floating[Any]], *, orig_sr: float) -> NDArray[np.floating[Any]]:
        """Samples at `orig_sr` hertz, of shape `(n_samples,)`, as float32 at the student's rate."""
        clip = {"array": audio, "sampling_rate": round(orig_sr)}
        return load_audio(clip, target_sampling_rate=round(self.target_sr))


class AuraProcessingInfo(BaseProcessingInfo):
    """What vLLM asks about a student before it sees a recording."""

    def get_hf_processor(self, **kwargs: object) -> AuraProcessor:
        """The student's processor."""
        return self.ctx.get_hf_processor(AuraProcessor, **kwargs)

    def get_data_parser(self) -> MultiModalDataParser:
        """Makes clips at the student's sampling rate of what a request holds."""
        rate = self.get_hf_processor().feature_extractor.sampling_rate
        parser = MultiModalDataParser(target_sr=rate, expected_hidden_size=self._get_expected_hidden_size())
        parser.audio_resampler = AuraResampler(rate)
        return parser

    def get_supported_mm_limits(self) -> Mapping[str, int | None]:
        """Any number of recordings in a request."""
        return {"audio": None}

    def get_mm_max_tokens_per_item(self, seq_len: int, mm_counts: Mapping[str, int]) -> Mapping[str, int]:
        """A recording may fill the context."""
        return {"audio": seq_len}


class AuraDummyInputs(BaseDummyInputsBuilder[AuraProcessingInfo]):
    """Recordings of the greatest length, by which vLLM measures how much memory is needed."""

    def get_dummy_text(self, mm_counts: Mapping[str, int]) -> str:
        """A prompt of placeholders."""
        return self.info.get_hf_processor().audio_token * mm_counts.get("audio", 0)

    def get_dummy_mm_data(
        self, seq_len: int, mm_counts: Mapping[str, int], mm_options: MultiModalDummyOptions
    ) -> MultiModalDataDict:
        """Clips of `seq_len` audio tokens together."""
        processor, num_audios = self.info.get_hf_processor(), mm_counts.get("audio", 0)
        samples_per_token = processor.frames_per_token * processor.feature_extractor.hop_length
        return {
            "audio": self._get_dummy_audios(
                length=seq_len // max(num_audios, 1) * samples_per_token,
                num_audios=num_audios,
                overrides=mm_options.get("audio"),
            )
        }


class AuraMultiModalProcessor(BaseMultiModalProcessor[AuraProcessingInfo]):
    """Clips to features, and to the placeholders that stand for them in the prompt."""

    placeholder: ClassVar[str] = AUDIO_TOKEN
    """Text of the audio token of the student that is served, which vLLM asks a class for that knows no config. One process serves one student."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        AuraMultiModalProcessor.placeholder = self.info.get_hf_processor().audio_token

    def _call_hf_processor(self, hf_data: Mapping[str, object], hf_kwargs: Mapping[str, object]) -> BatchFeature:
        # Each clip by itself: vLLM keeps the features of a clip for later requests, where it would be padded to another length.
        extractor = self.info.get_hf_processor().feature_extractor
        rate = extractor.sampling_rate
        clips: Any = hf_data["audio"]
        features = [extractor(clip, sampling_rate=rate, return_tensors="pt")["input_features"][0] for clip in clips]
        return BatchFeature({"input_features": features})

    def _get_mm_fields_config(
        self, hf_inputs: BatchFeature, hf_processor_mm_kwargs: Mapping[str, object]
    ) -> Mapping[str, MultiModalFieldConfig]:
        return {"input_features": MultiModalFieldConfig.batched("audio")}

    def _get_prompt_updates(
        self,
        mm_items: MultiModalDataItems,
        hf_processor_mm_kwargs: Mapping[str, object],
        out_mm_kwargs: MultiModalKwargsItems,
    ) -> Sequence[PromptUpdate]:
        processor = self.info.get_hf_processor()

        def placeholders(index: int) -> list[int]:
            frames = out_mm_kwargs["audio"][index]["input_features"].data
            return [processor.audio_token_id] * num_audio_tokens(len(frames), processor.frames_per_token)

        return [PromptReplacement("audio", [processor.audio_token_id], placeholders)]
