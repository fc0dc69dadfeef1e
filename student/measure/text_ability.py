"""Whether the student, without audio, is still its base LLM bit for bit."""

from typing import Any

import torch

from student.measure.systems import LanguageModel, Student


PROMPTS = (
    "What is the capital of France?",
    "Name three colours, and say which one you like best.",
    "Write a haiku about rain.",
    "Summarise in one sentence: The committee met on Tuesday and could not agree on a date.",
    "What was ordered? Answer in JSON.",
)


@torch.inference_mode()
def compare_text_logits(student: Student, language_model: LanguageModel) -> dict[str, Any]:
    """Compares all logits of a batch of [`PROMPTS`].

    Returns:
        `prompts` and `prompts_equal`, how many there are and how many have the same logits bit for bit, and the `largest_difference`.
    """
    chats = [[{"role": "user", "content": prompt}] for prompt in PROMPTS]
    inputs = language_model.tokenizer.apply_chat_template(
        chats, add_generation_prompt=True, padding=True, return_dict=True, return_tensors="pt"
    )
    found, expected = student.model(**inputs).logits, language_model.model(**inputs).logits
    equal = sum(torch.equal(of_student, of_base) for of_student, of_base in zip(found, expected, strict=True))
    return {
        "prompts": len(PROMPTS),
        "prompts_equal": equal,
        "largest_difference": (found.float() - expected.float()).abs().max().item(),
        "dtype": str(student.dtype).removeprefix("torch."),
    }
