"""The student as a model of vLLM: the patch embedding in front of vLLM's own implementation of the base LLM. Only vLLM imports this."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import torch
from torch import nn
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
from transformers.models.whisper.tokenization_whisper import LANGUAGES
from vllm.config import ModelConfig, SpeechToTextConfig, VllmConfig
from vllm.config.speech_to_text import SpeechToTextParams
from vllm.inputs import PromptType, TokensPrompt
from vllm.logger import init_logger
from vllm.model_executor.model_loader import DefaultModelLoader
from vllm.model_executor.models.interfaces import (
    MultiModalEmbeddings,
    SupportsLoRA,
    SupportsMultiModal,
    SupportsPP,
    SupportsTranscription,
)
from vllm.model_executor.models.module_mapping import MultiModelKeys
from vllm.model_executor.models.utils import (
    AutoWeightsLoader,
    WeightsMapper,
    init_vllm_registered_model,
    maybe_prefix,
)
from vllm.multimodal import MULTIMODAL_REGISTRY
from vllm.sequence import IntermediateTensors
from vllm.transformers_utils.processor import cached_processor_from_config

from ..hub.base_copy import copy_of_base_model
from ..modeling.audio_embedding import AuraAudioEmbedding
from ..modeling.configuration_aura import AuraConfig
from ..processing.conversation import build_conversation
from ..processing.processing_aura import AuraProcessor
from .compact_weights import weights_of_compact_student
from .vllm_inputs import AuraDummyInputs, AuraMultiModalProcessor, AuraProcessingInfo


logger = init_logger(f"vllm.{__name__}")  # vLLM shows what its own loggers say

_LANGUAGE_MODEL, _EMBED_AUDIO = "language_model", "embed_audio"


@MULTIMODAL_REGISTRY.register_processor(AuraMultiModalProcessor, info=AuraProcessingInfo, dummy_inputs=AuraDummyInputs)
class AuraForVLLM(nn.Module, SupportsMultiModal, SupportsLoRA, SupportsPP, SupportsTranscription):
    """A student in vLLM.

    A merged student is one checkpoint. A compact one is loaded together with its base LLM, as in transformers, and its LoRA is merged into the weights
    as they are read; unless vLLM itself serves LoRA (`--enable-lora`): then the LLM stays the base LLM, and requests name the adapter.
    """

    hf_to_vllm_mapper = WeightsMapper(
        orig_to_new_prefix={
            "model.language_model.": f"{_LANGUAGE_MODEL}.model.",
            "model.embed_audio.": f"{_EMBED_AUDIO}.",
            "model.subword_ctc_head.": None,  # of `transcribe`
            "model.character_ctc_head.": None,
            "model.": f"{_LANGUAGE_MODEL}.model.",  # names of the base LLM, and of a PEFT adapter on it
            "lm_head.": f"{_LANGUAGE_MODEL}.lm_head.",
        }
    )
    packed_modules_mapping: Mapping[str, list[str]] = {
        "qkv_proj": ["q_proj", "k_proj", "v_proj"],
        "gate_up_proj": ["gate_proj", "up_proj"],
    }
    supported_languages: ClassVar[Mapping[str, str]] = LANGUAGES
    """What language a student knows is a matter of its training, not of this class."""

    def __init__(self, *, vllm_config: VllmConfig, prefix: str = "") -> None:
        super().__init__()
        config: AuraConfig = vllm_config.model_config.hf_config
        if config.lora_rank and not config.is_compact:
            raise ValueError(
                "This student holds its base LLM and LoRA beside it: merge it first, `aura merge STUDENT FOLDER`."
            )
        if config.lora_scope == "audio":
            raise ValueError(
                'A student whose LoRA acts on audio positions only (`lora_scope="audio"`) cannot be served by vLLM.'
            )
        self.config = config
        self._merges_lora = vllm_config.lora_config is None
        self.configure_mm_token_handling(config.text_config.vocab_size, [config.audio_token_id])
        with self._mark_language_model(vllm_config):
            self.language_model = init_vllm_registered_model(
                vllm_config=vllm_config,
                hf_config=config.text_config,
                architectures=[MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[config.text_config.model_type]],
                prefix=maybe_prefix(prefix, _LANGUAGE_MODEL),
            )
        with self._mark_tower_model(vllm_config, "audio"):
            self.embed_audio = AuraAudioEmbedding(config.audio_config, config.text_config.hidden_size)
        self.packed_modules_mapping = self.language_model.packed_modules_mapping
        self.make_empty_intermediate_tensors = self.language_model.make_empty_intermediate_tensors
        self.secondary_weights = [_base_of(config)] if config.is_compact else []
        if config.audio_config.tokens_per_block != 1:
            logger.warning_once(
                "The audio tokens of this student see each other in blocks (tokens_per_block=%s), in vLLM only those before them: "
                "now and then an answer differs from that of transformers. A student trained with tokens_per_block=1 answers the same.",
                config.audio_config.tokens_per_block,
            )

    @classmethod
    def get_placeholder_str(cls, modality: str, i: int) -> str | None:
        """Text that marks the place of a recording in a prompt."""
        return AuraMultiModalProcessor.placeholder

    def embed_multimodal(self, **kwargs: Any) -> MultiModalEmbeddings:
        """Audio embeddings of each clip of `input_features`, `(audio_tokens, hidden)`; a clip is `(num_frames, num_mel_bins)`."""
        clips = kwargs.get("input_features")
        return [] if clips is None else [self._embed_clip(clip) for clip in clips]

    def _embed_clip(self, frames: torch.Tensor) -> torch.Tensor:
        mask = torch.ones(1, len(frames), dtype=torch.bool, device=frames.device)
        embeddings, _ = self.embed_audio(frames.unsqueeze(0), mask)
        return embeddings.squeeze(0)

    def forward(
        self,
        input_ids: torch.Tensor | None,
        positions: torch.Tensor,
        intermediate_tensors: IntermediateTensors | None = None,
        inputs_embeds: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> torch.Tensor | IntermediateTensors:
        """Last states of a batch of tokens of any requests, `(num_tokens, hidden)`."""
        if intermediate_tensors is not None:  # of the pipeline stage before this one
            inputs_embeds = None
        return self.language_model(input_ids, positions, intermediate_tensors, inputs_embeds)

    def compute_logits(self, hidden_states: torch.Tensor) -> torch.Tensor | None:
        """`(num_tokens, hidden)` to `(num_tokens, vocab_size)`."""
        return self.language_model.compute_logits(hidden_states)

    def load_weights(self, weights: Iterable[tuple[str, torch.Tensor]]) -> set[str]:
        """Takes the student's weights, and those of its base LLM behind them if it is compact; returns which were there."""
        if self.config.is_compact:
            base = self.secondary_weights[0].model_or_path
            weights = weights_of_compact_student(self.config, weights, merge_lora=self._merges_lora, base=base)
        return AutoWeightsLoader(self).load_weights(weights, mapper=self.hf_to_vllm_mapper)

    def get_mm_mapping(self) -> MultiModelKeys:
        """Which part is which, for LoRA: it acts in the language model."""
        return MultiModelKeys.from_string_field(language_model=_LANGUAGE_MODEL, tower_model=_EMBED_AUDIO)

    @classmethod
    def get_speech_to_text_config(cls, model_config: ModelConfig, task_type: str) -> SpeechToTextConfig:
        """How `/v1/audio/transcriptions` cuts long recordings: by vLLM's defaults, into parts of 30 s."""
        return SpeechToTextConfig(sample_rate=_processor(model_config).feature_extractor.sampling_rate)

    @classmethod
    def get_generation_prompt(cls, stt_params: SpeechToTextParams) -> PromptType:
        """The chat in which the student is asked to write a recording down; the request's `prompt` stands for the instruction of training."""
        if stt_params.task_type != "transcribe":
            raise ValueError(
                f"An AuRA student is asked for translations in a chat, not by the task {stt_params.task_type!r}."
            )
        processor = _processor(stt_params.model_config)
        chat = build_conversation(stt_params.audio, stt_params.request_prompt or processor.transcription_instruction)
        text = processor.apply_chat_template(chat, add_generation_prompt=True)
        tokens = processor.tokenizer(text, add_special_tokens=False)["input_ids"]
        return TokensPrompt(prompt_token_ids=tokens, multi_modal_data={"audio": stt_params.audio})

    @classmethod
    def get_num_audio_tokens(
        cls, audio_duration_s: float, stt_config: SpeechToTextConfig, model_config: ModelConfig
    ) -> int | None:
        """Audio tokens of a recording of so many seconds."""
        return _processor(model_config).get_num_audio_tokens(round(audio_duration_s * stt_config.sample_rate))


def _processor(model_config: ModelConfig) -> AuraProcessor:
    return cached_processor_from_config(model_config, processor_cls=AuraProcessor)


def _base_of(config: AuraConfig) -> DefaultModelLoader.Source:
    """Where vLLM reads the weights of a compact student's base LLM."""
    copy = copy_of_base_model(config)
    if copy is not None:
        return DefaultModelLoader.Source(copy, revision=None)
    if config.base_gguf_file is not None:
        raise ValueError(
            f"The student's base LLM is the GGUF file {config.base_gguf_file} of {config.base_model}, which is not read here. Merge the student first, "
            "`aura merge STUDENT FOLDER`, and serve the folder."
        )
    return DefaultModelLoader.Source(config.base_model, revision=config.base_revision)
