"""AuRA for transformers: any Hugging Face LLM understands speech, by an adapter.

Importing this package registers AuRA with transformers: its Auto classes and `pipeline("audio-question-answering")`.
"""

import importlib
import sys
from pathlib import Path
from typing import Any


__version__ = "0.2.0"

_PUBLIC_NAMES = {
    "AuraAudioConfig": "modeling.configuration_aura",
    "AuraConfig": "modeling.configuration_aura",
    "AuraModel": "modeling.modeling_aura",
    "AuraForSpeechQA": "modeling.modeling_aura",
    "AdapterMismatchError": "modeling.adapter_weights",
    "AuraFeatureExtractor": "processing.feature_extraction_aura",
    "AuraProcessor": "processing.processing_aura",
    "AudioLoadingError": "processing.audio_errors",
    "SilentAudioWarning": "processing.audio_errors",
    "load_audio": "processing.audio_loading",
    "build_conversation": "processing.conversation",
    "AuraStream": "streaming.aura_stream",
    "ConversationFullError": "streaming.aura_stream",
    "PromptCache": "modeling.prompt_cache",
    "StreamedAnswer": "streaming.aura_stream",
    "AudioQuestionAnsweringPipeline": "pipelines.audio_question_answering",
    "AuraTeacher": "distillation.teacher",
    "SecondTeacher": "distillation.second_teacher",
    "WaveformTeacher": "distillation.waveform_teacher",
    "AuraDataCollator": "distillation.collator",
    "AuraTrainingArguments": "distillation.training_args",
    "AuraTrainer": "distillation.trainer",
    "packaged_student": "package_data",
    "packaged_students": "package_data",
}

__all__ = ["__version__", *sorted(_PUBLIC_NAMES)]


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used."""
    if name not in _PUBLIC_NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_PUBLIC_NAMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__


# The `aura` command registers when it gets to work: its `--help` should not wait for torch.
if Path(sys.argv[0] if sys.argv else "").stem != "aura":
    from .registration import register

    register()
