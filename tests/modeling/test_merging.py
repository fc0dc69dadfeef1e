"""A student merged into one plain checkpoint."""

import pytest
import torch

from tests.modeling.test_loading import edit_weights, logits
from tests.support.tiny_models import tiny_student
from tests.support.tolerance import assert_equal_but_for_rounding, num_terms
from transformers_aura import AdapterMismatchError, AuraConfig, AuraForSpeechQA


pytestmark = pytest.mark.numerical


def test_merging_keeps_rows_with_audio_and_the_live_student(tmp_path):
    student = tiny_student(tmp_path / "base")
    before = {name: value.clone() for name, value in student.state_dict().items()}
    merged = student.merge()
    merged.save_pretrained(tmp_path / "merged")
    loaded = AuraForSpeechQA.from_pretrained(tmp_path / "merged")
    assert not [name for name, _ in loaded.named_modules() if "lora" in name]
    assert AuraConfig.from_pretrained(tmp_path / "merged").base_model is None
    expected = logits(student)
    terms = num_terms(student, positions=expected.shape[1])
    assert_equal_but_for_rounding(logits(loaded)[0], expected[0], terms)
    student.config.lora_scope = "always"
    assert_equal_but_for_rounding(logits(loaded), logits(student), terms)
    with torch.no_grad():
        for parameter in merged.parameters():
            parameter.zero_()
    after = student.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    with pytest.raises(ValueError, match="no LoRA to merge"):
        merged.merge()
    student.config.lora_scope = "audio"
    with pytest.raises(ValueError, match='lora_scope="rows"'):
        student.merge()


def test_a_merged_checkpoint_with_a_tensor_missing(tmp_path):
    tiny_student(tmp_path / "base").merge().save_pretrained(tmp_path / "merged")
    edit_weights(tmp_path / "merged", lambda w: {k: v for k, v in w.items() if "embed_audio.proj" not in k})
    with pytest.raises(AdapterMismatchError, match=r"missing: model.embed_audio.proj"):
        AuraForSpeechQA.from_pretrained(tmp_path / "merged")
    with pytest.raises(ValueError, match="does not apply"):
        AuraForSpeechQA.from_pretrained(tmp_path / "merged", base_model_name_or_path="org/base")
