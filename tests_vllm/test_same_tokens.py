"""A student whose audio attention is causal answers in vLLM what it answers in transformers, token for token."""

from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.support.tiny_models import save_tiny_language_model
from tests_vllm.answers import from_transformers, from_vllm
from tests_vllm.conftest import SIZES, save_student
from tests_vllm.recordings import recordings
from transformers_aura.hub import merge_to_folder
from transformers_aura.hub.peft_adapter import save_peft_adapter


@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_on_every_recording_merged(family: str, tmp_path: Path) -> None:
    clips = recordings()
    assert len(clips) >= 50
    merged = merge_to_folder(save_student(tmp_path, family), tmp_path / "merged")
    expected = from_transformers(merged, clips, "What was said?")
    assert len(set(map(tuple, expected))) > len(clips) / 2  # the answers tell recordings apart
    assert from_vllm(merged, clips, "What was said?")[0] == expected


@pytest.mark.parametrize("family", ["qwen3", "mistral", "smollm3", "gemma3_text", "phi3"])
def test_every_family_compact(family: str, tmp_path: Path) -> None:
    student, clips = save_student(tmp_path, family), recordings()[:6]
    expected = from_transformers(student, clips)  # first: vLLM changes classes of transformers in its process
    assert from_vllm(student, clips)[0] == expected


def test_the_adapter_beside_the_base(tmp_path: Path) -> None:
    student, clips = save_student(tmp_path, "llama"), recordings()[:6]
    texts = ["The weather is", "One, two, three,"]
    heard, read = from_vllm(student, clips, texts=texts, adapter=save_peft_adapter(student))
    assert heard == from_transformers(student, clips)
    base, tokenizer = (auto.from_pretrained(tmp_path / "base") for auto in (AutoModelForCausalLM, AutoTokenizer))
    for text, answer in zip(texts, read, strict=True):
        inputs = tokenizer(text, return_tensors="pt")
        settings = {"max_new_tokens": 12, "min_new_tokens": 12, "eos_token_id": tokenizer.eos_token_id}
        tokens = base.generate(**inputs, **settings, do_sample=False)
        assert answer == tokens[0, inputs["input_ids"].shape[1] :].tolist()


def test_another_base_is_an_error(tmp_path: Path) -> None:
    student = save_student(tmp_path, "qwen2")
    save_tiny_language_model(student.parent / "base", "qwen2", seed=1, **SIZES)
    with pytest.raises(ValueError, match="is not the one that this adapter was trained on"):
        from_vllm(student, recordings()[:1])
