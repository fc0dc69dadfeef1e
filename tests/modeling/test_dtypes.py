"""Weights in the format that suits the processor, when nobody names one; saved as they were stored."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForMultimodalLM, pipeline

from tests.modeling.test_loading import logits
from tests.support.tiny_gguf import write_gguf
from tests.support.tiny_models import randomise_adapter, save_tiny_language_model
from transformers_aura import AuraForSpeechQA, AuraModel, AuraProcessor
from transformers_aura.hub import merge_to_folder
from transformers_aura.modeling import dtypes


HALF, FULL = torch.bfloat16, torch.float32


@pytest.fixture(params=["compact", "merged", "gguf"])
def stored(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A student whose weights are stored in bfloat16."""
    base = save_tiny_language_model(tmp_path / "base", "llama")
    if request.param == "gguf":
        base = write_gguf(AutoModelForCausalLM.from_pretrained(base), tmp_path / "base.gguf")
    student = AuraForSpeechQA.from_language_model_pretrained(base, lora_rank=4, lora_num_layers=2, dtype=HALF)
    randomise_adapter(student)
    folder = tmp_path / "student"
    (student.merge() if request.param == "merged" else student).save_pretrained(folder)
    return folder


@pytest.fixture(params=[False, True], ids=["float32 is faster", "bfloat16 is native"])
def expected(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> torch.dtype:
    """What a student in bfloat16 is loaded in on a processor of either kind, without an accelerator."""
    processor(monkeypatch, multiplies=request.param)
    return HALF if request.param else FULL


def processor(monkeypatch: pytest.MonkeyPatch, multiplies: bool, accelerator: bool = False) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: multiplies)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: accelerator)
    monkeypatch.setattr(dtypes.platform, "machine", lambda: "x86_64")


def formats(model: torch.nn.Module) -> set[torch.dtype]:
    return {parameter.dtype for parameter in model.parameters()}


def test_without_a_dtype_it_is_the_faster_one(stored: Path, expected: torch.dtype) -> None:
    for load, settings in (
        (AuraForSpeechQA, {}),
        (AuraForSpeechQA, {"dtype": "auto", "device_map": "cpu"}),
        (AuraModel, {}),
        (AutoModel, {"dtype": None}),
        (AutoModelForMultimodalLM, {"dtype": "auto"}),
    ):
        assert formats(load.from_pretrained(stored, **settings)) == {expected}, (load, settings)


def test_a_dtype_that_is_named_is_obeyed(stored: Path, expected: torch.dtype) -> None:
    for load, named in ((AuraForSpeechQA, HALF), (AuraModel, "float16"), (AutoModel, "bfloat16"), (AutoModel, FULL)):
        dtype = getattr(torch, named) if isinstance(named, str) else named
        assert formats(load.from_pretrained(stored, dtype=named)) == {dtype}


def test_the_pipeline_does_as_the_loader(tmp_path: Path, expected: torch.dtype) -> None:
    base = save_tiny_language_model(tmp_path / "base")
    student = AuraForSpeechQA.from_language_model_pretrained(base, lora_rank=4, lora_num_layers=2, dtype=HALF)
    student.save_pretrained(tmp_path / "student")
    AuraProcessor.from_language_model_pretrained(base).save_pretrained(tmp_path / "student")
    answerer = pipeline("audio-question-answering", model=str(tmp_path / "student"))
    assert formats(answerer.model) == {expected}
    assert formats(pipeline("audio-question-answering", model=str(tmp_path / "student"), dtype=HALF).model) == {HALF}


@pytest.mark.parametrize(
    ("device_map", "accelerator", "stays"),
    [
        (None, False, True),
        (None, True, False),
        ("auto", True, False),
        ("auto", False, True),
        ("cpu", True, True),
        (torch.device("cpu"), True, True),
        ({"": "cpu"}, True, True),
        ({"model": 0, "lm_head": "cpu"}, True, False),
        ({"model": "cpu", "lm_head": "disk"}, True, True),
        ("cuda:1", True, False),
        ("meta", False, False),
    ],
)
def test_only_what_stays_on_the_cpu_is_widened(
    device_map: object, accelerator: bool, stays: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    processor(monkeypatch, multiplies=False, accelerator=accelerator)
    for half in (HALF, torch.float16):
        assert dtypes.default_dtype(half, device_map) == (FULL if stays else half)
    for wide in (FULL, torch.float64):
        assert dtypes.default_dtype(wide, device_map) == wide
    processor(monkeypatch, multiplies=True)
    assert dtypes.default_dtype(HALF, device_map) == HALF


def test_on_arm_the_bfloat16_extension_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    processor(monkeypatch, multiplies=False)
    monkeypatch.setattr(dtypes.platform, "machine", lambda: "aarch64")
    for has_it in (True, False):
        monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda has_it=has_it: has_it)
        assert dtypes.cpu_multiplies(HALF) is has_it
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)  # torch's builds for macOS
    monkeypatch.delattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported")
    assert not dtypes.cpu_multiplies(HALF)


def test_this_processor_can_be_asked() -> None:
    assert dtypes.cpu_multiplies(HALF) in (True, False)
    assert not dtypes.cpu_multiplies(torch.float16)


def test_what_was_only_widened_is_saved_as_it_was_stored(
    stored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    processor(monkeypatch, multiplies=False)
    student = AuraForSpeechQA.from_pretrained(stored)
    student.save_pretrained(tmp_path / "again")
    weights, again = load_file(stored / "model.safetensors"), load_file(tmp_path / "again" / "model.safetensors")
    assert weights.keys() == again.keys()
    assert all(torch.equal(weights[name], again[name]) and again[name].dtype == HALF for name in weights)
    assert dtypes_in(tmp_path / "again") == dtypes_in(stored) == ("bfloat16", "bfloat16")
    assert student.dtype == student.config.dtype == FULL
    assert torch.equal(logits(AuraForSpeechQA.from_pretrained(tmp_path / "again")), logits(student))


def dtypes_in(folder: Path) -> tuple[str, str]:
    config = json.loads((folder / "config.json").read_text())
    return config["dtype"], config["text_config"]["dtype"]


@pytest.mark.parametrize(
    "change", [lambda weight: weight.add_(1e-6), lambda weight: weight.fill_(torch.nan)], ids=["trained", "broken"]
)
def test_what_was_changed_since_is_saved_as_it_is(
    stored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable
) -> None:
    processor(monkeypatch, multiplies=False)
    student = AuraForSpeechQA.from_pretrained(stored)
    with torch.no_grad():
        change(student.model.embed_audio.norm.weight)
    student.save_pretrained(tmp_path / "again")
    again = load_file(tmp_path / "again" / "model.safetensors")
    assert {weight.dtype for weight in again.values()} == {FULL}
    assert dtypes_in(tmp_path / "again") == ("float32", "float32")


def test_a_format_that_was_asked_for_is_saved(stored: Path, tmp_path: Path, expected: torch.dtype) -> None:
    AuraForSpeechQA.from_pretrained(stored, dtype=FULL).save_pretrained(tmp_path / "again")
    assert {weight.dtype for weight in load_file(tmp_path / "again" / "model.safetensors").values()} == {FULL}


@pytest.mark.parametrize("stored", ["compact"], indirect=True)
def test_merging_to_a_folder_keeps_the_stored_format(stored: Path, tmp_path: Path, expected: torch.dtype) -> None:
    AuraProcessor.from_language_model_pretrained(tmp_path / "base").save_pretrained(stored)
    merge_to_folder(stored, tmp_path / "merged")
    assert {weight.dtype for weight in load_file(tmp_path / "merged" / "model.safetensors").values()} == {HALF}
