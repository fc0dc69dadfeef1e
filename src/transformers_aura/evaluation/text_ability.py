"""Whether a student, without audio, is still its base LLM bit for bit."""

from __future__ import annotations

from typing import Any

import torch

from .systems.student import AuraSystem
from .systems.text import TextLanguageModel


PROMPTS = (
    "What is the capital of France?",
    "Name three colours, and say which one you like best.",
    "Write a haiku about rain.",
    "Summarise in one sentence: The committee met on Tuesday and could not agree on a date.",
    "What was ordered? Answer in JSON.",
)


@torch.inference_mode()
def compare_text_logits(system: AuraSystem, reader: TextLanguageModel) -> dict[str, Any]:
    """Compares all logits of one batch of [`PROMPTS`].

    Args:
        system: the student.
        reader: its base LLM, in the same dtype on the same device.

    Returns:
        `prompts` and `prompts_equal`, how many there are and how many have the same logits bit for bit, the `largest_difference` and the
        `dtype`.
    """
    chats = [[{"role": "user", "content": prompt}] for prompt in PROMPTS]
    inputs = reader.tokenizer.apply_chat_template(
        chats, add_generation_prompt=True, padding=True, return_dict=True, return_tensors="pt"
    ).to(reader.device)
    found, expected = system.student(**inputs).logits, reader.language_model(**inputs).logits
    equal = sum(torch.equal(of_student, of_base) for of_student, of_base in zip(found, expected, strict=True))
    return {
        "prompts": len(PROMPTS),
        "prompts_equal": equal,
        "largest_difference": (found.float() - expected.float()).abs().max().item(),
        "dtype": str(found.dtype).removeprefix("torch."),
    }
