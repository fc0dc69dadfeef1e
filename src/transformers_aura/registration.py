"""The one place that tells transformers about AuRA (its Auto classes, its pipeline), and the rooms below about those above them."""

from __future__ import annotations

from functools import cache

from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoModel,
    AutoModelForMultimodalLM,
    AutoProcessor,
)
from transformers import pipelines as stock_pipelines
from transformers.models.auto.modeling_auto import MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES
from transformers.pipelines import PIPELINE_REGISTRY

from .hub.base_copy import copy_of_base_model
from .hub.push import publish_missing_model_card
from .modeling.configuration_aura import AuraAudioConfig, AuraConfig
from .modeling.modeling_aura import AuraForSpeechQA, AuraModel
from .modeling.pretrained_aura import AuraPreTrainedModel
from .package_data import resolve_student
from .pipelines.audio_question_answering import AudioQuestionAnsweringPipeline
from .pipelines.task_of_folder import TASK, knowing_students
from .processing.feature_extraction_aura import AuraFeatureExtractor
from .processing.processing_aura import AuraProcessor
from .streaming.aura_stream import AuraStream


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
        TASK,
        pipeline_class=AudioQuestionAnsweringPipeline,
        pt_model=AutoModelForMultimodalLM,
        type="multimodal",
    )
    # transformers has no hook for this: a `custom_pipelines` entry in the config asks for `trust_remote_code`
    stock_pipelines.get_task = knowing_students(stock_pipelines.get_task)
    AuraProcessor.locate_student = staticmethod(resolve_student)
    AuraPreTrainedModel.locate_student = staticmethod(resolve_student)
    AuraPreTrainedModel.locate_base_model = staticmethod(copy_of_base_model)
    AuraPreTrainedModel.before_push = staticmethod(publish_missing_model_card)
    AuraPreTrainedModel.open_stream = AuraStream
