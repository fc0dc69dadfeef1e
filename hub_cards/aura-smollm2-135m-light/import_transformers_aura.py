"""Lets transformers load this repo with `trust_remote_code=True`: its code is the package transformers-aura, which must be installed."""

try:
    from transformers_aura import AuraConfig, AuraFeatureExtractor, AuraForSpeechQA, AuraModel, AuraProcessor
except ModuleNotFoundError as error:
    if error.name != "transformers_aura":
        raise
    raise ImportError(
        "This repo holds an AuRA student, whose code is the package transformers-aura: pip install transformers-aura"
    ) from error


__all__ = ["AuraConfig", "AuraFeatureExtractor", "AuraForSpeechQA", "AuraModel", "AuraProcessor"]
