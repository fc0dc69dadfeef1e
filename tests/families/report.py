"""The page of what holds for which family."""

from __future__ import annotations

from collections.abc import Sequence

import transformers

from tests.families.probe import INVARIANTS, Finding


def page(findings: Sequence[Finding]) -> str:
    """docs/families.md of what was found of every family."""
    supported = [finding for finding in findings if finding.is_supported]
    others = [finding for finding in findings if not finding.is_supported]
    lines = [
        "# LLM families",
        "",
        f"Written by `python -m tests.families --write docs/families.md`, with transformers {transformers.__version__}. Do not edit it by hand.",
        "",
        "A family is the `model_type` of an LLM's config. For each one that `AutoModelForCausalLM` knows, a tiny LLM with random weights is made, a student is put",
        "on it, and these are tried:",
        "",
        *(f"- {name}: {_first_line(invariant.__doc__)}" for name, invariant in INVARIANTS.items()),
        "",
        "A family is supported where all of them hold; `SUPPORTED_LANGUAGE_MODELS` has exactly those. What is tried is the classes of transformers, not their published",
        "weights: only llama (SmolLM2) was trained and measured here, see [results](results.md).",
        "",
        "- In a mixture of experts LoRA is put into the projections of attention only, since experts are no linear layers of their own. Which rows are beside a row of text",
        "  can change how the base LLM itself rounds it there (see `beside`): rows of text are then equal up to that rounding, and bit for bit where no row has audio.",
        "- In linear attention audio tokens see only those before them; blocks attend both ways in the layers of full or sliding attention.",
        "- With sliding windows or linear attention a transcript is not rescored by the LLM, beginnings of prompts are not kept, and a stream computes its row anew where",
        "  it would have to go back.",
        "- A multimodal checkpoint whose text part is of a supported family can be a base: its text part is taken, its other towers are left out (tried: gemma3,",
        "  qwen3_5). Phi-4 and Phi-4-mini are phi3; Phi-4-multimodal is not supported.",
        "- vLLM serves the families that it has itself; tried there: qwen3, mistral, smollm3, gemma3_text and phi3 ([serving with vLLM](serving_vllm.md)). A base that is a",
        "  multimodal checkpoint has to be merged for vLLM (`aura merge`).",
        "",
        f"## Supported: {len(supported)}",
        "",
        "| family | projections with LoRA |",
        "|---|---|",
        *(f"| {finding.family} | {', '.join(finding.projections)} |" for finding in supported),
        "",
        f"## Not supported: {len(others)}",
        "",
        "Before a reason stands what does not hold. Where nothing stands there, nothing could be tried: the model is not of the form that a student is put on, or no",
        "tiny one could be made from its config.",
        "",
        "| family | what does not hold, and why |",
        "|---|---|",
        *(f"| {finding.family} | {_reasons(finding)} |" for finding in others),
        "",
    ]
    return "\n".join(lines)


def _first_line(text: str | None) -> str:
    return (text or "").strip().partition("\n")[0]


def _reasons(finding: Finding) -> str:
    """Invariants that fail, those of one reason together."""
    names: dict[str, list[str]] = {}
    for name, why in finding.fails.items():
        names.setdefault(why.replace("|", "\\|"), []).append(name)
    return "; ".join(why if of == ["model"] else f"{', '.join(of)}: {why}" for why, of in names.items())
