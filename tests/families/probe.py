"""What a student on an LLM of any family must hold, tried on a tiny one with random weights."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from huggingface_hub.errors import StrictDataclassError
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from tests.modeling.test_modeling_aura import FRAMES_PER_TOKEN, batch, clip, mixed_rows, prompt, text
from tests.support.tiny_models import babble, save_tiny_language_model, tiny_config, tiny_student
from tests.support.tolerance import num_terms, rounding
from transformers_aura import AuraForSpeechQA, AuraProcessor, build_conversation
from transformers_aura.modeling.cache_argument import CACHE_ARGUMENT
from transformers_aura.modeling.language_models import SUPPORTED_LANGUAGE_MODELS


MOST_PARAMETERS = 3_000_000
"""A family whose tiny model is larger than this is not tried."""

_NOT_ADAPTED = {"gate", "classifier", "shared_expert_gate", "kv_b_proj"}
"""Linear layers that choose among experts, as those of a router or indexer do; and the one of multi-head latent attention that is applied to the whole
cache anew at each token."""

_GREEDY = {"max_new_tokens": 8, "do_sample": False, "eos_token_id": None}


class DoesNotHold(Exception):
    """An invariant does not hold, and how."""


@dataclass
class Case:
    """A student on a tiny LLM, and that LLM alone."""

    folder: Path
    student: AuraForSpeechQA
    base: PreTrainedModel


@dataclass
class Finding:
    """
    What was found of one family.

    Attributes:
        family: `model_type` of the text config.
        projections: names of the linear layers that LoRA is put into.
        fails: invariants that do not hold, by name, and why. The one called "model" means that nothing could be tried.
    """

    family: str
    projections: tuple[str, ...] = ()
    fails: dict[str, str] = field(default_factory=dict)

    @property
    def is_supported(self) -> bool:
        """Whether every invariant holds."""
        return not self.fails


def projections_of(family: str) -> tuple[str, ...]:
    """Names of the linear layers that LoRA is put into, in the order of the model: all in the decoder layers, or in a mixture of experts those of attention.

    Raises:
        DoesNotHold: it is not of the form that a student is put on: decoder layers in `model.layers`, a final norm, a head without bias.
    """
    text_config = AutoConfig.for_model(family).get_text_config(decoder=True)
    if text_config.model_type != family:
        raise DoesNotHold(f"a model of several parts; its text part is {text_config.model_type}")
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(tiny_config(family))
    if sum(parameter.numel() for parameter in model.parameters()) > MOST_PARAMETERS:
        raise DoesNotHold("its config has no tiny form")
    parts = {name.rpartition(".")[0] or name for name, _ in model.named_parameters()}
    if any(not name.startswith(("model.", "lm_head")) for name in parts) or not hasattr(model, "model"):
        raise DoesNotHold("parts beside `model` and `lm_head`")
    for name, kind in (("layers", nn.ModuleList), ("norm", nn.Module)):
        if not isinstance(getattr(model.model, name, None), kind):
            raise DoesNotHold(f"no `model.{name}`")
    if not isinstance(getattr(model, "lm_head", None), nn.Linear) or model.lm_head.bias is not None:
        raise DoesNotHold("its head is not one linear layer without bias")
    has_experts = any(".experts." in name for name, _ in model.named_parameters())
    names = [name for name, module in model.model.layers.named_modules() if isinstance(module, nn.Linear)]
    kept = [name for name in names if (not has_experts or "att" in name) and not re.search("indexer|router", name)]
    return tuple(
        dict.fromkeys(last for last in (name.rpartition(".")[2] for name in kept) if last not in _NOT_ADAPTED)
    )


def probe(family: str, folder: Path, invariants: tuple[str, ...] | None = None) -> Finding:
    """Tries invariants (all of them where none are named) on a tiny LLM of `family`, which is made in `folder`."""
    try:
        finding = Finding(family, projections_of(family))
    except Exception as error:
        return Finding(family, fails={"model": reason(error)})
    with patch.dict(SUPPORTED_LANGUAGE_MODELS, {family: finding.projections}):
        try:
            save_tiny_language_model(folder / "base", family)
            student = tiny_student(folder / "base", family)
            case = Case(folder, student, AutoModelForCausalLM.from_pretrained(folder / "base"))
        except Exception as error:
            finding.fails["model"] = reason(error)
            return finding
        for name in invariants or tuple(INVARIANTS):
            try:
                INVARIANTS[name](case)
            except Exception as error:
                finding.fails[name] = reason(error)
    return finding


def reason(error: Exception) -> str:
    """An error in a few words."""
    if isinstance(error, DoesNotHold):
        return str(error)
    lines = [line for line in str(error).splitlines() if line.strip()] or [""]
    line = lines[-1] if isinstance(error, StrictDataclassError) else lines[0]
    line = re.sub(r"\s+", " ", re.sub(r"/\S*/(base|student)\b", r"\1", line).strip())
    return f"{type(error).__name__}: {line if len(line) <= 90 else line[:90] + '...'}"


@torch.no_grad()
def text_is_the_base_llm(case: Case) -> None:
    """Logits of text equal the base LLM's bit for bit, padded and not."""
    student, base = case.student, case.base
    text_only = batch([prompt(student, text(15, 3)), prompt(student, text(9, 5))])
    _equal(student(**text_only).logits, base(**text_only).logits, "padded text")
    unpadded = {"input_ids": text_only["input_ids"]}
    _equal(student(**unpadded).logits, base(**unpadded).logits, "text")


@torch.no_grad()
def text_beside_audio_is_the_base_llm(case: Case) -> None:
    """Rows of text beside rows with audio equal those of the base LLM: bit for bit, if what stands in its other rows changes no bit of them there."""
    student, base = case.student, case.base
    mixed = batch(mixed_rows(student))
    is_audio = mixed["input_ids"] == student.config.audio_token_id
    found = student(**mixed).logits
    in_base = [
        base(input_ids=mixed["input_ids"].masked_fill(is_audio, token), attention_mask=mixed["attention_mask"]).logits
        for token in (7, 11, 23)
    ]
    if torch.allclose(found[0], in_base[0][0], atol=1e-2):
        raise DoesNotHold("the adapter changes nothing")
    if all(torch.equal(other[[1, 3]], in_base[0][[1, 3]]) for other in in_base):
        _equal(found[[1, 3]], in_base[0][[1, 3]], "rows of text beside audio")
    else:
        _close(student, found[[1, 3]], in_base[0][[1, 3]], "rows of text beside audio")


@torch.no_grad()
def a_batch_is_its_rows(case: Case) -> None:
    """A padded batch of rows with and without audio gives what each row gives alone, and the same greedy tokens."""
    student, rows = case.student, mixed_rows(case.student)
    for padding_side in ("left", "right"):
        together = student(**batch(rows, padding_side)).logits
        for row, single in enumerate(rows):
            alone = student(**batch([single])).logits[0]
            place = slice(-len(alone), None) if padding_side == "left" else slice(len(alone))
            _close(student, together[row, place], alone, f"padded on the {padding_side}")
    answers = student.generate(**batch(rows), **_GREEDY)[:, -8:]
    for row, single in enumerate(rows):
        if not torch.equal(student.generate(**batch([single]), **_GREEDY)[0, -8:], answers[row]):
            raise DoesNotHold("other tokens in a batch")


@torch.no_grad()
def saved_is_loaded(case: Case) -> None:
    """A saved student gives the same logits when it is loaded again, bit for bit."""
    inputs = batch(mixed_rows(case.student))
    case.student.save_pretrained(case.folder / "student")
    loaded = AuraForSpeechQA.from_pretrained(case.folder / "student")
    _equal(loaded(**inputs).logits, case.student(**inputs).logits, "loaded")


@torch.no_grad()
def generate_is_greedy(case: Case) -> None:
    """`generate` gives the tokens of a loop over `forward` that keeps no cache."""
    student = case.student
    row = batch([prompt(student, text(4, 1), clip(9, 1), text(6, 2))])
    found = student.generate(**row, **_GREEDY)
    for _ in range(_GREEDY["max_new_tokens"]):
        logits = student(**row, use_cache=False).logits[:, -1:]
        row["input_ids"] = torch.cat([row["input_ids"], logits.argmax(-1)], 1)
        row["attention_mask"] = torch.ones_like(row["input_ids"])
    if not torch.equal(found, row["input_ids"]):
        raise DoesNotHold("other tokens than without a cache")


@torch.no_grad()
def blocks_attend_both_ways(case: Case) -> None:
    """A change late in a block of audio reaches the first token of that block, and nothing before it."""
    student = case.student
    inputs = batch([prompt(student, text(3, 1), clip(12, spare_frames=0))])

    def states() -> torch.Tensor:
        return student(**inputs, output_hidden_states=True).hidden_states[-2][0, 3:]

    before = states()
    inputs["input_features"][:, 6 * FRAMES_PER_TOKEN : 7 * FRAMES_PER_TOKEN] += 1.0  # blocks of four tokens: 4 to 7
    least = rounding(
        num_terms(student, len(before)), float(before.abs().max())
    )  # what experts sum up depends on other positions
    changed = ((states() - before).abs() > least).any(-1).nonzero().view(-1).tolist()
    if changed and changed[0] > 4:
        raise DoesNotHold("audio tokens do not see those behind them")
    if changed != list(range(4, 12)):
        raise DoesNotHold("a change reaches tokens before its block")


def lora_learns(case: Case) -> None:
    """Every parameter of the adapter gets a gradient from the answer, and no other does."""
    student = case.student
    inputs = batch([prompt(student, text(4, 1), clip(9, 1), text(16, 2))])
    labels = inputs["input_ids"].masked_fill(inputs["input_ids"] >= 60, -100)
    student(**inputs, labels=labels).loss.backward()
    without = set()
    for name, parameter in student.named_parameters():
        has_gradient = parameter.grad is not None and bool(parameter.grad.abs().sum() > 0)
        if has_gradient and not parameter.requires_grad:
            raise DoesNotHold(f"a gradient for {name}")
        if parameter.requires_grad and not has_gradient:
            without.add(name.partition(".lora_")[0].rpartition(".")[2])
    student.zero_grad()
    if without:
        raise DoesNotHold(f"no gradient for {', '.join(sorted(without))}")


@torch.no_grad()
def merged_is_unmerged(case: Case) -> None:
    """A merged checkpoint, saved and loaded, gives the logits of rows with audio."""
    inputs = batch([prompt(case.student, text(4, 1), clip(9, 1), text(6, 2))])
    case.student.merge().save_pretrained(case.folder / "merged")
    merged = AuraForSpeechQA.from_pretrained(case.folder / "merged")
    _close(case.student, merged(**inputs).logits, case.student(**inputs).logits, "merged")


@torch.no_grad()
def first_layers_alone(case: Case) -> None:
    """The first layers run by themselves, as distillation does, give the states that they have in a whole pass."""
    inputs = batch(mixed_rows(case.student))
    full = case.student(**inputs, output_hidden_states=True).hidden_states
    part = case.student.model(**inputs, output_hidden_states=True, num_hidden_layers=2).hidden_states
    for number, states in enumerate(part):
        _equal(states, full[number], f"states after {number} layers")


@torch.no_grad()
def static_cache(case: Case) -> None:
    """`generate` with a static cache gives the same tokens."""
    inputs = batch(mixed_rows(case.student))
    expected = case.student.generate(**inputs, **_GREEDY)
    if not torch.equal(case.student.generate(**inputs, **_GREEDY, cache_implementation="static"), expected):
        raise DoesNotHold("other tokens than with a dynamic cache")


@torch.no_grad()
def later_audio_goes_on_from_the_cache(case: Case) -> None:
    """A second clip that arrives when the first turn is in the cache gives what one whole pass gives."""
    student = case.student
    first, second = [text(5, 1), clip(6, 1), text(4, 2)], [text(3, 3), clip(5, 2), text(2, 4)]
    whole = student(**batch([prompt(student, *first, *second)])).logits
    cached = student(**batch([prompt(student, *first)]), use_cache=True)
    later = batch([prompt(student, *second)])
    later.pop("attention_mask")
    logits = student(**later, **{CACHE_ARGUMENT: cached[CACHE_ARGUMENT]}).logits
    _close(student, logits, whole[:, -logits.shape[1] :], "with a cache")


@torch.no_grad()
def a_stream_is_the_whole_clip(case: Case) -> None:
    """What a stream answers, two turns long, is what the whole clips are answered."""
    processor = AuraProcessor.from_language_model_pretrained(case.folder / "base")
    stream = case.student.stream(processor)
    chat: list[dict[str, Any]] = []
    for turn in (1, 2):
        audio = babble(1.5, turn)["array"]
        for start in range(0, len(audio), 5_000):
            stream.feed(audio[start : start + 5_000])
        answer = stream.answer(max_new_tokens=6, do_sample=False)
        chat = build_conversation(audio, history=chat)
        inputs = processor.apply_chat_template(
            chat,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            add_generation_prompt=True,
            sampling_rate=16_000,
        )
        tokens = case.student.generate(**inputs, max_new_tokens=6, do_sample=False)[0, inputs["input_ids"].shape[1] :]
        if answer.token_ids != tokens.tolist():
            raise DoesNotHold(f"another answer in turn {turn}")
        chat = [*chat, {"role": "assistant", "content": answer.text}]


INVARIANTS: dict[str, Callable[[Case], None]] = {
    "text": text_is_the_base_llm,
    "beside": text_beside_audio_is_the_base_llm,
    "batch": a_batch_is_its_rows,
    "save": saved_is_loaded,
    "generate": generate_is_greedy,
    "blocks": blocks_attend_both_ways,
    "LoRA": lora_learns,
    "merge": merged_is_unmerged,
    "layers": first_layers_alone,
    "static": static_cache,
    "cache": later_audio_goes_on_from_the_cache,
    "stream": a_stream_is_the_whole_clip,
}
"""By the name of its column in docs/families.md."""


def _equal(found: torch.Tensor, expected: torch.Tensor, what: str) -> None:
    if not torch.equal(found, expected):
        raise DoesNotHold(f"{what}: off by {float((found - expected).abs().max()):.1e}")


def _close(student: nn.Module, found: torch.Tensor, expected: torch.Tensor, what: str) -> None:
    difference = float((found - expected).abs().max())
    if not difference <= rounding(num_terms(student, expected.shape[-2]), float(expected.abs().max())):
        raise DoesNotHold(f"{what}: off by {difference:.1e}")
