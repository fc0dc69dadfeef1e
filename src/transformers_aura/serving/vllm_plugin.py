"""What vLLM calls when it starts: the entry point `vllm.general_plugins` of this package. It makes `vllm serve STUDENT` work."""

from __future__ import annotations

from ..modeling.modeling_aura import AuraForSpeechQA
from ..registration import register as register_with_transformers


def register() -> None:
    """Tells vLLM which class runs a student. vLLM calls this in each of its processes, maybe more than once."""
    from vllm import ModelRegistry

    register_with_transformers()
    # By name: vLLM looks at the class in a process of its own, so that CUDA is not touched in this one.
    ModelRegistry.register_model(AuraForSpeechQA.__name__, f"{__package__}.vllm_model:AuraForVLLM")
