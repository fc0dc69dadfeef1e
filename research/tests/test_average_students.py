"""A student between two has the mean of their weights, and loads."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from aura_research.average_students import average_students
from aura_research.reshape_student import reshape_student
from tests.support.fake_hub import FakeHub
from tests.support.published import publish_base, save_student
from transformers_aura import AuraForSpeechQA
from transformers_aura.hub import HubError


def test_the_mean_of_two_students(fake_hub: FakeHub, tmp_path: Path) -> None:
    publish_base(fake_hub, tmp_path / "base")
    save_student(tmp_path / "first")
    save_student(tmp_path / "second")
    first = load_file(tmp_path / "first" / "model.safetensors")
    second = {name: weight + 1 for name, weight in first.items()}
    save_file(second, tmp_path / "second" / "model.safetensors", metadata={"format": "pt"})
    average_students(tmp_path / "first", tmp_path / "second", tmp_path / "mean", 0.25)
    mean = load_file(tmp_path / "mean" / "model.safetensors")
    assert mean.keys() == first.keys()
    for name, weight in first.items():
        torch.testing.assert_close(mean[name], weight + 0.25)
    AuraForSpeechQA.from_pretrained(tmp_path / "mean")

    reshape_student(tmp_path / "first", tmp_path / "larger", conv_blocks=2)
    with pytest.raises(HubError, match="of other shapes"):
        average_students(tmp_path / "first", tmp_path / "larger", tmp_path / "out", 0.5)
    with pytest.raises(ValueError, match="between 0 and 1, got 2"):
        average_students(tmp_path / "first", tmp_path / "second", tmp_path / "out", 2)
    assert not (tmp_path / "out").exists()
