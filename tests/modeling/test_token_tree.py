"""A tree of tokens is read as each of its texts would be by itself, whatever was read before and beside it, and each token once."""

from collections.abc import Sequence
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
TOKENS = [[20, 30, 31], [20, 21]]
ENDS = [2, 3]
TEXTS = [
    [[(31, 20, 30), (30, 20), (31, 20)], [(20,)]],
    [[(31, 20, 30, 31), (30,), (30, 30)], []],  # one was read already, another prompt has nothing new
    [[], [(20, 21), (21,), ()]],
]


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return save_tiny_language_model(tmp_path_factory.mktemp("base"), "qwen2")


def tree_behind(student: AuraForSpeechQA, inputs: dict, hears: bool, ends: Sequence[int] = ENDS) -> TokenTree:
    cache = DynamicCache(config=student.config.get_text_config(decoder=True))
    mask = inputs["attention_mask"]
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    with torch.no_grad():
        logits = student(**inputs, position_ids=positions, use_cache=True, **{CACHE_ARGUMENT: cache}).logits[:, -1]
    return TokenTree(student, cache, mask, logits, TOKENS, ends, hears)


def contexts() -> dict[str, torch.Tensor]:
    return {
        "input_ids": torch.tensor([CONTEXTS[0], [0, 0, *CONTEXTS[1]]]),
        "attention_mask": torch.tensor([[1, 1, 1, 1], [0, 0, 1, 1]]),
    }


def check(tree: TokenTree, prompt: int, text: tuple[int, ...], logits: torch.Tensor) -> None:
    """`logits`: at the prompt's last token, and at each of the text."""
    log_probabilities = logits.log_softmax(-1)
    expected = sum(float(row[token]) for row, token in zip(log_probabilities, text, strict=False))
    assert tree.log_probability(prompt, text) == pytest.approx(expected, abs=1e-3)
    assert tree.end(prompt, text) == pytest.approx(float(log_probabilities[-1, ENDS].max()), abs=1e-3)


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
@torch.no_grad()
def test_texts_are_read_as_the_base_llm_reads_them(base, implementation):
    student = tiny_student(base)
    student.set_attn_implementation(implementation)
    llm = AutoModelForCausalLM.from_pretrained(base)
    tree = tree_behind(student, contexts(), hears=False)
    read: list[set] = [{()}, {()}]
    for texts in TEXTS:
        tree.read(texts)
        for prompt, of_prompt in enumerate(texts):
            read[prompt].update(text[:end] for text in of_prompt for end in range(len(text) + 1))
            for text in read[prompt]:
                logits = llm(torch.tensor([[*CONTEXTS[prompt], *text]])).logits[0]
                check(tree, prompt, text, logits[len(CONTEXTS[prompt]) - 1 :])


@torch.no_grad()
def test_texts_behind_audio_are_read_with_the_adapter(base):
    student = tiny_student(base)
    processor = tiny_processor()
    chats = [
        build_conversation({"array": tone(seconds), "sampling_rate": 16000}, "Transcribe it.")
        for seconds in (0.9, 0.4)
    ]
    settings = {"tokenize": True, "add_generation_prompt": True, "return_dict": True, "return_tensors": "pt"}
    tree = tree_behind(student, processor.apply_chat_template(chats, padding=True, **settings), hears=True)
    for texts in TEXTS:
        tree.read(texts)
    for prompt, text in ((0, (31, 20, 30, 31)), (0, (30, 20)), (1, (20, 21))):
        alone = processor.apply_chat_template([chats[prompt]], **settings)
        length = alone["input_ids"].shape[1]
        alone["input_ids"] = torch.cat([alone["input_ids"], torch.tensor([text])], dim=-1)
        alone["attention_mask"] = torch.ones_like(alone["input_ids"])
        check(tree, prompt, text, student(**alone).logits[0, length - 1 :])


def test_where_nothing_ends_a_text(base):
    tree = tree_behind(tiny_student(base), contexts(), hears=False, ends=[])
    tree.read([[(30,)], []])
    assert tree.end(0, (30,)) == 0.0
    assert tree.log_probability(0, (30,)) < 0


def test_what_was_read_is_not_read_again(base, monkeypatch):
    student = tiny_student(base)
    tree = tree_behind(student, contexts(), hears=False)
    shapes = []
    forward = AuraForSpeechQA.forward
    monkeypatch.setattr(
        AuraForSpeechQA,
        "forward",
        lambda self, **arguments: shapes.append(tuple(arguments["input_ids"].shape)) or forward(self, **arguments),
    )
    for texts in (*TEXTS, *TEXTS, [[], []]):
        tree.read(texts)
    assert shapes == [(2, 5), (2, 2), (2, 2)]


def test_windows_and_flash_attention_cannot(base, tmp_path):
    student = tiny_student(base)
    assert can_read_trees(student)
    student.model.language_model.config._attn_implementation = "flash_attention_2"
    assert not can_read_trees(student)
    windowed = tiny_student(save_tiny_language_model(tmp_path / "gemma3", "gemma3_text"))
    assert not can_read_trees(windowed)
