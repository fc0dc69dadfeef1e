"""Which checkpoints a student can be put on: those of the supported families, and multimodal ones with a text part of such a family."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForImageTextToText

from tests.modeling.test_modeling_aura import batch, mixed_rows, prompt, text
from tests.support.tiny import tiny_tokenizer
from tests.support.tiny_models import save_tiny_language_model, tiny_config, tiny_student
from transformers_aura import AdapterMismatchError, AuraForSpeechQA, AuraModel
from transformers_aura.modeling.language_models import text_config_of


pytestmark = pytest.mark.numerical

VISION = {
    "gemma3": {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 16,
        "patch_size": 8,
    },
    "qwen3_5": {
        "depth": 1,
        "hidden_size": 16,
        "num_heads": 2,
        "intermediate_size": 16,
        "out_hidden_size": 32,
        "num_position_embeddings": 16,
    },
}


def save_multimodal(folder, family):
    """A tiny multimodal model with random weights."""
    config = AutoConfig.for_model(
        family, text_config=tiny_config(f"{family}_text").to_dict(), vision_config=VISION[family]
    )
    torch.manual_seed(0)
    AutoModelForImageTextToText.from_config(config).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)


@pytest.mark.parametrize("names", ["as saved", "of the other kind"])
@pytest.mark.parametrize("family", VISION)
@torch.no_grad()
def test_of_a_multimodal_checkpoint_the_text_part_is_taken(family, names, tmp_path, caplog):
    save_multimodal(tmp_path / "base", family)
    base = AutoModelForImageTextToText.from_pretrained(tmp_path / "base")
    if names != "as saved":
        file = tmp_path / "base" / "model.safetensors"
        old, new = ("language_model.model.", "model.language_model.")
        weights = load_file(file)
        if any(name.startswith(new) for name in weights):
            old, new = new, old
        renamed = {name.replace(old, new) if name.startswith(old) else name: value for name, value in weights.items()}
        assert renamed.keys() != weights.keys()
        save_file(renamed, file, {"format": "pt"})
    student = tiny_student(tmp_path / "base")
    assert "UNEXPECTED" not in caplog.text
    assert student.config.text_config.model_type == f"{family}_text"
    inputs = batch([prompt(student, text(15, 3)), prompt(student, text(9, 5))])
    assert torch.equal(student(**inputs).logits, base(**inputs).logits)

    student.save_pretrained(tmp_path / "student")
    rows = batch(mixed_rows(student))
    loaded = AuraForSpeechQA.from_pretrained(tmp_path / "student")
    assert torch.equal(loaded(**rows).logits, student(**rows).logits)
    headless = AuraModel.from_pretrained(tmp_path / "student")
    assert torch.equal(headless(**rows).last_hidden_state, student.model(**rows).last_hidden_state)


def test_another_multimodal_checkpoint_than_the_students_base(tmp_path):
    save_multimodal(tmp_path / "base", "gemma3")
    tiny_student(tmp_path / "base").save_pretrained(tmp_path / "student")
    save_tiny_language_model(tmp_path / "other", "gemma3_text", hidden_size=64)
    with pytest.raises(AdapterMismatchError, match=r"`hidden_size` is 64, in the student's config.json it is 32"):
        AuraForSpeechQA.from_pretrained(tmp_path / "student", base_model_name_or_path=tmp_path / "other")


def test_a_multimodal_checkpoint_of_another_family():
    with pytest.raises(ValueError, match="does not support language models of type 'mllama_text_model'"):
        text_config_of(AutoConfig.for_model("mllama"))
