"""The one place that tells transformers about AuRA: its Auto classes and its pipeline."""

from __future__ import annotations

from functools import cache

from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoModel,
    AutoModelForMultimodalLM,
    AutoProcessor,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES
from transformers.pipelines import PIPELINE_REGISTRY

from .modeling.configuration_aura import AuraAudioConfig, AuraConfig
from .modeling.modeling_aura import AuraForSpeechQA, AuraModel
from .pipelines.audio_question_answering import AudioQuestionAnsweringPipeline
from .processing.feature_extraction_aura import AuraFeatureExtractor
from .processing.processing_aura import AuraProcessor


@cache
def register() -> None:
    """Registers AuRA with transformers, once per process."""
    AutoConfig.register(AuraAudioConfig.model_type, AuraAudioConfig)
    AutoConfig.register(AuraConfig.model_type, AuraConfig)
    AutoModel.register(AuraConfig, (AuraModel, AuraForSpeechQA))  # `architectures` in config.json picks one
    AutoModelForMultimodalLM.register(AuraConfig, AuraForSpeechQA)
    AutoFeatureExtractor.register(AuraConfig, AuraFeatureExtractor)
    AutoProcessor.register(AuraConfig, AuraProcessor)
    # `transformers serve` looks the class up by name in this table
    MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES[AuraConfig.model_type] = AuraForSpeechQA.__name__
    PIPELINE_REGISTRY.register_pipeline(
        "audio-question-answering",
        pipeline_class=AudioQuestionAnsweringPipeline,
        pt_model=AutoModelForMultimodalLM,
        type="multimodal",
    )
