"""A compact student's weights as an engine reads them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.support.tiny_models import save_tiny_language_model, tiny_student
from transformers_aura import AuraForSpeechQA
from transformers_aura.modeling.adapter_weights import AdapterMismatchError
from transformers_aura.serving.compact_weights import weights_of_compact_student


@pytest.fixture
def student(tmp_path: Path) -> AuraForSpeechQA:
    student = tiny_student(tmp_path / "base", "llama")
    student.save_pretrained(tmp_path / "student")
    return student


def files_of(*folders: Path) -> Iterator[tuple[str, torch.Tensor]]:
    """The weights of some folders, one after the other."""
    for folder in folders:
        yield from load_file(folder / "model.safetensors").items()


def test_lora_is_merged_as_they_are_read(student: AuraForSpeechQA, tmp_path: Path) -> None:
    files = files_of(tmp_path / "student", tmp_path / "base")
    found = dict(weights_of_compact_student(student.config, files, merge_lora=True, base="base"))
    expected = student.merge().state_dict()
    in_base = {name.replace("model.language_model.", "model."): weight for name, weight in expected.items()}
    assert found.keys() == in_base.keys()
    for name, weight in in_base.items():
        torch.testing.assert_close(found[name], weight, rtol=1e-6, atol=1e-6)


def test_without_lora_it_is_the_base(student: AuraForSpeechQA, tmp_path: Path) -> None:
    files = files_of(tmp_path / "student", tmp_path / "base")
    found = dict(weights_of_compact_student(student.config, files, merge_lora=False, base="base"))
    base = load_file(tmp_path / "base" / "model.safetensors")
    assert all(torch.equal(found[name], weight) for name, weight in base.items())
    assert not [name for name in found if "lora" in name]


@pytest.mark.parametrize("changed", [{"seed": 1}, {"num_hidden_layers": 2}])
def test_another_base_is_an_error(student: AuraForSpeechQA, changed: dict[str, int], tmp_path: Path) -> None:
    other = save_tiny_language_model(tmp_path / "other", "llama", **changed)
    files = files_of(tmp_path / "student", other)
    with pytest.raises(AdapterMismatchError, match="other is not the one that this adapter was trained on"):
        list(weights_of_compact_student(student.config, files, merge_lora=True, base="other"))
