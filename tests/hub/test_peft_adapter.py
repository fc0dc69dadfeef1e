"""A student's LoRA as PEFT reads it."""

from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from tests.support.tiny_models import FAMILIES, tiny_student
from transformers_aura import AuraForSpeechQA
from transformers_aura.hub import HubError
from transformers_aura.hub.peft_adapter import ADAPTER_FOLDER, save_peft_adapter


@pytest.mark.parametrize("family", FAMILIES)
def test_on_the_base_it_is_what_the_merged_student_is(family: str, tmp_path: Path) -> None:
    student = tiny_student(tmp_path / "base", family)
    student.save_pretrained(tmp_path / "student")
    adapter = save_peft_adapter(tmp_path / "student")
    assert adapter == tmp_path / "student" / ADAPTER_FOLDER
    assert AuraForSpeechQA.from_pretrained(tmp_path / "student").config.is_compact  # the folder still is a student
    base = AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    tokens = torch.arange(1, 40).unsqueeze(0)
    with torch.no_grad():
        of_base = base(tokens).logits
        on_base = PeftModel.from_pretrained(base, adapter)(tokens).logits
        of_merged = student.merge()(tokens).logits
    torch.testing.assert_close(on_base, of_merged, rtol=1e-4, atol=1e-3)
    assert not torch.allclose(on_base, of_base, atol=0.1)


def test_a_student_without_one_says_so(tmp_path: Path) -> None:
    student = tiny_student(tmp_path / "base", lora_scope="audio")
    student.save_pretrained(tmp_path / "audio")
    with pytest.raises(ValueError, match="audio positions only"):
        save_peft_adapter(tmp_path / "audio")
    student = tiny_student(tmp_path / "base")
    student.save_pretrained(tmp_path / "compact")
    student.merge().save_pretrained(tmp_path / "merged")
    with pytest.raises(ValueError, match="no LoRA beside its base LLM"):
        save_peft_adapter(tmp_path / "merged")
    save_peft_adapter(tmp_path / "compact")
    with pytest.raises(HubError, match="exists already"):
        save_peft_adapter(tmp_path / "compact")
