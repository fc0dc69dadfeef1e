"""Long prompts go through the LLM in parts, and come out as from one pass."""

import pytest
import torch
from transformers import DynamicCache

from tests.modeling.test_modeling_aura import batch, clip, prompt, text
from tests.support.tiny_models import FAMILIES, tiny_student
from tests.support.tolerance import assert_equal_but_for_rounding, num_terms
from transformers_aura.modeling import modeling_aura
from transformers_aura.modeling.cache_argument import CACHE_ARGUMENT
from transformers_aura.modeling.long_prompts import parts_of_prompt


def test_no_part_cuts_a_block_of_audio_in_any_row():
    text_only = torch.full((1, 20), -1)
    assert parts_of_prompt(text_only, 8) == [slice(0, 8), slice(8, 16), slice(16, 20)]
    assert parts_of_prompt(text_only[:, :15], 8) == [slice(0, 15)]
    blocks = torch.tensor([[-1, 0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, -1, -1]])
    assert parts_of_prompt(blocks, 5) == [slice(0, 4), slice(4, 7), slice(7, 10), slice(10, 15)]
    assert parts_of_prompt(blocks, 2) == [
        slice(0, 1),
        slice(1, 4),
        slice(4, 7),
        slice(7, 10),
        slice(10, 13),
        slice(13, 15),
    ]
    shifted = torch.cat([blocks, torch.nn.functional.pad(blocks[:, :-2], (2, 0), value=-1)])
    assert parts_of_prompt(shifted, 5) == [
        slice(0, 1),
        slice(1, 15),
    ]  # from there on, a block of one of the rows is always open


@pytest.fixture
def parts_of_eight(monkeypatch):
    """Prompts are long from 16 positions on; returns the parts that the language model was given."""
    seen = []

    def parts(block_ids):
        seen.extend(parts_of_prompt(block_ids, 8))
        return seen

    monkeypatch.setattr(modeling_aura, "parts_of_prompt", parts)
    return seen


@pytest.mark.numerical
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("scope", ["rows", "audio"])
@torch.no_grad()
def test_a_prompt_in_parts_equals_one_pass(family, scope, tmp_path, parts_of_eight):
    student = tiny_student(tmp_path, family, lora_scope=scope)
    rows = [
        prompt(student, text(4, 1), clip(33, 1), text(3, 2)),
        prompt(student, text(2, 3), clip(17, 2), text(1), clip(6)),
    ]
    terms = num_terms(student, 40)
    for inputs in (batch(rows[:1]), batch(rows[1:]), batch(rows)):
        whole = student(**inputs)
        assert not parts_of_eight  # without a cache there is nothing to go on from
        in_parts = student(**inputs, **{CACHE_ARGUMENT: DynamicCache(config=student.config.text_config)})
        assert len(parts_of_eight) > 2
        assert_equal_but_for_rounding(in_parts.logits, whole.logits, terms)
        parts_of_eight.clear()


@torch.no_grad()
def test_a_chat_goes_on_behind_a_long_recording(tmp_path, parts_of_eight):
    """Answers are those of one pass, with text and another recording behind the cached ones, and from a static cache."""
    student = tiny_student(tmp_path)
    row = prompt(student, text(4, 1), clip(33, 1), text(3, 2), clip(25, 3), text(5, 4))
    inputs = batch([row])
    greedy = {"max_new_tokens": 6, "do_sample": False}
    answer = student.generate(**inputs, **greedy)
    assert len(parts_of_eight) > 4
    parts_of_eight.clear()
    assert student.generate(**inputs, **greedy, use_cache=False).equal(answer)
    assert not parts_of_eight
    assert student.generate(**inputs, **greedy, cache_implementation="static").equal(answer)
    parts_of_eight.clear()

    first = batch([(row[0][:40], row[1][:1])])
    cache = getattr(
        student(**first, **{CACHE_ARGUMENT: DynamicCache(config=student.config.text_config)}), CACHE_ARGUMENT
    )
    parts_of_eight.clear()
    second = batch([(row[0][40:], row[1][1:])])
    second["attention_mask"] = inputs["attention_mask"]
    behind = student(**second, **{CACHE_ARGUMENT: cache}).logits
    assert len(parts_of_eight) > 2
    assert_equal_but_for_rounding(behind, student(**inputs).logits[:, 40:], num_terms(student, 70))


@torch.no_grad()
def test_what_only_one_pass_can_give_takes_one_pass(tmp_path, parts_of_eight):
    student = tiny_student(tmp_path)
    inputs = batch([prompt(student, clip(33, 1), text(3, 2))])
    cache = {CACHE_ARGUMENT: DynamicCache(config=student.config.text_config)}
    assert student(**inputs, **cache, output_hidden_states=True).hidden_states[0].shape[1] == 36
    mixed = batch([prompt(student, clip(33, 1), text(3, 2)), prompt(student, text(36))])
    student(**mixed, **{CACHE_ARGUMENT: DynamicCache(config=student.config.text_config)})
    assert not parts_of_eight
