"""A student merged into one plain checkpoint."""

import pytest
import torch

from tests.modeling.test_loading import edit_weights, logits
from tests.modeling.test_modeling_aura import batch, mixed_rows, text
from tests.support.tiny_models import babble, tiny_student, tiny_transcriber
from tests.support.tolerance import assert_equal_but_for_rounding, num_terms
from transformers_aura import AdapterMismatchError, AuraConfig, AuraForSpeechQA, AuraProcessor


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


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A saved student that transcribes."""
    path = tmp_path_factory.mktemp("student")
    tiny_transcriber(path)
    return path / "student"


@pytest.mark.parametrize("scope", ["rows", "always"])
@torch.no_grad()
def test_a_student_loaded_with_lora_merged_is_the_same_student(folder, scope, tmp_path):
    student, merged = (AuraForSpeechQA.from_pretrained(folder, merge_lora=merge) for merge in (False, True))
    student.config.lora_scope = merged.config.lora_scope = scope
    inputs, ids = batch(mixed_rows(student)), text(9).unsqueeze(0)
    terms = num_terms(student, positions=inputs["input_ids"].shape[1])
    assert_equal_but_for_rounding(merged(**inputs).logits, student(**inputs).logits, terms)
    assert_equal_but_for_rounding(merged(input_ids=ids).logits, student(input_ids=ids).logits, terms)
    base = student.model.language_model(ids).last_hidden_state
    assert_equal_but_for_rounding(merged.model.language_model(ids).last_hidden_state, base, terms)
    greedy = {"max_new_tokens": 5, "do_sample": False}
    assert torch.equal(merged.generate(**inputs, **greedy), student.generate(**inputs, **greedy))

    processor = AuraProcessor.from_pretrained(folder)
    heard = processor.feature_extractor(babble(2.0)["array"], sampling_rate=16_000, return_tensors="pt")
    texts = [model.transcribe(**heard, tokenizer=processor.tokenizer)[0] for model in (student, merged)]
    assert texts[0].text
    assert texts[0].text == texts[1].text

    merged.save_pretrained(tmp_path)
    assert torch.equal(AuraForSpeechQA.from_pretrained(tmp_path)(**inputs).logits, student(**inputs).logits)
    assert_equal_but_for_rounding(merged.merge()(**inputs).logits[0], student(**inputs).logits[0], terms)


@torch.no_grad()
def test_rows_with_audio_cost_no_low_rank_product_where_lora_is_merged(folder):
    merged = AuraForSpeechQA.from_pretrained(folder, merge_lora=True)
    assert not [name for name, parameter in merged.named_parameters() if "lora_" in name and parameter.requires_grad]
    calls = []
    for module in merged.modules():
        if hasattr(module, "student_scaling"):
            module.register_forward_hook(lambda *_: calls.append(1))
    rows = mixed_rows(merged)
    merged.generate(**batch([rows[0], rows[2]]), max_new_tokens=3)
    assert not calls
    merged.generate(**batch(rows), max_new_tokens=1)
    assert len(calls) == 14


@pytest.mark.fault("loading")
def test_merged_lora_that_is_gone_is_an_error_for_text_too(folder):
    merged = AuraForSpeechQA.from_pretrained(folder, merge_lora=True)
    merged.model.language_model.layers[0].mlp.up_proj.delete_adapter("aura")
    with pytest.raises(RuntimeError, match=r"own LoRA .* acted in 13 of 14 linear layers"), torch.no_grad():
        merged(input_ids=text(5).unsqueeze(0))


def test_lora_on_audio_positions_only_is_not_merged_on_loading(tmp_path):
    tiny_student(tmp_path / "base", lora_scope="audio").save_pretrained(tmp_path / "student")
    with pytest.raises(ValueError, match='lora_scope="rows"'):
        AuraForSpeechQA.from_pretrained(tmp_path / "student", merge_lora=True)
