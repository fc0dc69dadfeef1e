"""Systems under one interface: they get the same recordings and questions, and give texts."""

from .bridge import BridgeSystem
from .interface import MAX_NEW_TOKENS, Answer, Request, System
from .native import NativeAudioSystem
from .student import AuraSystem
from .text import Cascade, GoldText, TextLanguageModel, Transcriber


__all__ = [
    "MAX_NEW_TOKENS",
    "Answer",
    "AuraSystem",
    "BridgeSystem",
    "Cascade",
    "GoldText",
    "NativeAudioSystem",
    "Request",
    "System",
    "TextLanguageModel",
    "Transcriber",
]
