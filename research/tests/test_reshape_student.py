"""A student of another shape computes what the first one did, and is ready to learn more."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from aura_research.reshape_student import reshape_student
from tests.support.fake_hub import FakeHub
from tests.support.published import STUDENT_SETTINGS, logits_of, publish_base, save_student
from transformers_aura import AuraForSpeechQA, AuraProcessor
from transformers_aura.hub import HubError


@pytest.fixture
def student(fake_hub: FakeHub, tmp_path: Path) -> Path:
    publish_base(fake_hub, tmp_path / "base")
    save_student(tmp_path / "student")
    return tmp_path / "student"


def logits(folder: Path) -> torch.Tensor:
    return logits_of(AuraForSpeechQA.from_pretrained(folder), AuraProcessor.from_pretrained(folder))


def lora_products(folder: Path) -> list[torch.Tensor]:
    weights = load_file(folder / "model.safetensors")
    return [weights[name.replace("lora_A", "lora_B")] @ weights[name] for name in sorted(weights) if "lora_A" in name]


def test_a_larger_student_hears_the_same(student: Path, tmp_path: Path) -> None:
    rank = STUDENT_SETTINGS["lora_rank"] + 2
    assert reshape_student(student, tmp_path / "larger", conv_blocks=2, lora_rank=rank) == pytest.approx(1)
    larger = AuraForSpeechQA.from_pretrained(tmp_path / "larger")
    assert len(larger.model.embed_audio.blocks) == 2
    assert larger.config.lora_rank == rank
    torch.testing.assert_close(logits(tmp_path / "larger"), logits(student), rtol=1e-4, atol=1e-4)
    with pytest.raises(HubError, match="1 would lose some"):
        reshape_student(tmp_path / "larger", tmp_path / "smaller", conv_blocks=1)


def test_a_smaller_rank_keeps_the_largest_singular_values(student: Path, tmp_path: Path) -> None:
    kept = reshape_student(student, tmp_path / "smaller", lora_rank=2)
    shares = []
    for whole, part in zip(lora_products(student), lora_products(tmp_path / "smaller"), strict=True):
        values = torch.linalg.svdvals(whole)
        assert float((whole - part).norm()) == pytest.approx(float(values[2:].norm()), rel=1e-3)
        shares.append(float(values[:2].norm() / values.norm()) ** 2)
    assert kept == pytest.approx(sum(shares) / len(shares), rel=1e-3)
    config = AuraForSpeechQA.from_pretrained(tmp_path / "smaller").config
    assert config.lora_alpha / 2 == pytest.approx(AuraForSpeechQA.from_pretrained(student).config.lora_alpha / 4)
