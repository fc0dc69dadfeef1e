"""A tree of tokens is read as each of its texts would be by itself, whatever was read before and beside it, and each token once."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, DynamicCache

from tests.support.tiny import tiny_processor, tone
from tests.support.tiny_models import save_tiny_language_model, tiny_student
from transformers_aura import AuraForSpeechQA, build_conversation
from transformers_aura.modeling.cache_argument import CACHE_ARGUMENT
from transformers_aura.modeling.token_tree import TokenTree, can_read_trees


CONTEXTS = [[5, 6, 7, 8], [9, 10]]
TEXTS = [
    [[(31,), (30,)], [(20,)]],
    [[(31, 20), (30, 20), (31, 31)], []],
    [[], [(20, 21), (21,)]],
    [[(31, 20, 30)], [(20, 21, 21)]],
]


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return save_tiny_language_model(tmp_path_factory.mktemp("base"), "qwen2")


def tree_behind(student: AuraForSpeechQA, inputs: dict, hears: list[bool]) -> TokenTree:
    cache = DynamicCache(config=student.config.get_text_config(decoder=True))
    mask = inputs["attention_mask"]
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    with torch.no_grad():
        student(**inputs, position_ids=positions, use_cache=True, **{CACHE_ARGUMENT: cache})
    return TokenTree(student, cache, mask, hears)


def contexts() -> dict[str, torch.Tensor]:
    return {
        "input_ids": torch.tensor([CONTEXTS[0], [0, 0, *CONTEXTS[1]]]),
        "attention_mask": torch.tensor([[1, 1, 1, 1], [0, 0, 1, 1]]),
    }


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
@torch.no_grad()
def test_texts_are_read_as_the_base_llm_reads_them(base, implementation):
    student = tiny_student(base)
    student.set_attn_implementation(implementation)
    llm = AutoModelForCausalLM.from_pretrained(base)
    tree = tree_behind(student, contexts(), [False, False])
    for texts in TEXTS:
        for context, of_prompt, read in zip(CONTEXTS, texts, tree.read(texts), strict=True):
            assert len(read) == len(of_prompt)
            for text, following in zip(of_prompt, read, strict=True):
                expected = llm(torch.tensor([[*context, *text]])).logits[0, -1].log_softmax(-1)
                torch.testing.assert_close(torch.tensor(following), expected, atol=1e-3, rtol=0)


@torch.no_grad()
def test_texts_behind_audio_are_read_with_the_adapter_and_others_beside_them_without(base):
    student = tiny_student(base)
    processor = tiny_processor()
    chat = build_conversation({"array": tone(0.9), "sampling_rate": 16000}, "Transcribe it.")
    settings = {"tokenize": True, "add_generation_prompt": True, "return_dict": True, "return_tensors": "pt"}
    alone = processor.apply_chat_template([chat], **settings)
    inputs = dict(alone)
    length = inputs["input_ids"].shape[1]
    of_text = torch.tensor([[0] * (length - 4) + CONTEXTS[0]])
    inputs["input_ids"] = torch.cat([inputs["input_ids"], of_text])
    inputs["attention_mask"] = torch.cat([inputs["attention_mask"], (of_text != 0).long()])
    tree = tree_behind(student, inputs, [True, False])
    llm = AutoModelForCausalLM.from_pretrained(base)
    for texts in ([[(31,), (30,)], [(31,)]], [[(31, 20)], [(31, 20), (31, 30)]]):
        heard, read = tree.read(texts)
        for text, following in zip(texts[0], heard, strict=True):
            longer = dict(alone)
            longer["input_ids"] = torch.cat([alone["input_ids"], torch.tensor([text])], dim=-1)
            longer["attention_mask"] = torch.ones_like(longer["input_ids"])
            expected = student(**longer).logits[0, -1].log_softmax(-1)
            torch.testing.assert_close(torch.tensor(following), expected, atol=1e-3, rtol=0)
        for text, following in zip(texts[1], read, strict=True):
            expected = llm(torch.tensor([[*CONTEXTS[0], *text]])).logits[0, -1].log_softmax(-1)
            torch.testing.assert_close(torch.tensor(following), expected, atol=1e-3, rtol=0)


@torch.no_grad()
def test_what_is_not_needed_any_more_is_forgotten_and_changes_nothing(base):
    student = tiny_student(base)
    llm = AutoModelForCausalLM.from_pretrained(base)
    tree = tree_behind(student, contexts(), [False, False])
    tree.read([[(token,) for token in range(20, 60)], [(20,)]])
    tree.read([[(token, 7) for token in range(20, 60)], []])
    tree.keep([[(token, 7) for token in range(20, 60)], []])
    assert tree._cache.get_seq_length() == 4 + 80  # all of it is needed
    tree.keep([[(50, 7), (30,)], [(20,)]])
    assert tree._cache.get_seq_length() == 4 + 4
    for texts in ([[(50, 7, 9), (30, 8)], [(20, 21)]], [[(50, 7, 9, 5)], []]):
        for context, of_prompt, read in zip(CONTEXTS, texts, tree.read(texts), strict=True):
            for text, following in zip(of_prompt, read, strict=True):
                expected = llm(torch.tensor([[*context, *text]])).logits[0, -1].log_softmax(-1)
                torch.testing.assert_close(torch.tensor(following), expected, atol=1e-3, rtol=0)


def test_windows_and_flash_attention_cannot(base, tmp_path):
    student = tiny_student(base)
    assert can_read_trees(student)
    student.model.language_model.config._attn_implementation = "flash_attention_2"
    assert not can_read_trees(student)
    windowed = tiny_student(save_tiny_language_model(tmp_path / "gemma3", "gemma3_text"))
    assert not can_read_trees(windowed)
