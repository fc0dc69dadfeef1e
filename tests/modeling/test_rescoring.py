"""The prefix tree says of each text what a pass over that text alone says, and `generate` goes on from what it has read."""

import pytest
import torch

from tests.support.tiny_models import FAMILIES, tiny_language_model
from tests.support.tolerance import assert_equal_but_for_rounding, num_terms
from transformers_aura.modeling.cache_argument import CACHE_ARGUMENT
from transformers_aura.modeling.rescoring import Candidates, can_score_texts, score_texts


pytestmark = pytest.mark.numerical

END = 7
ROWS = [
    Candidates([5, 6, 7, 8], [[20, 21, 22], [20, 21, 23, 24], [20], [30, 21, 22], [20, 21, 22]]),
    Candidates([9], [[40, 40, 40, 40, 40, 40]]),
    Candidates(list(range(50, 65)), [[70], [71], [71, 70]]),
]
SCORING_FAMILIES = [family for family in FAMILIES if family != "gemma3_text"]


def test_llms_with_a_sliding_window_or_flash_attention_score_no_texts(monkeypatch):
    for family in FAMILIES:
        assert can_score_texts(tiny_language_model(family).model) == (family in SCORING_FAMILIES), family
    language_model = tiny_language_model().model
    monkeypatch.setattr(language_model.config, "_attn_implementation_internal", "flash_attention_2")
    assert not can_score_texts(language_model)


@pytest.mark.parametrize("end", [END, None])
@pytest.mark.parametrize("family", SCORING_FAMILIES)
@torch.no_grad()
def test_scores_are_those_of_one_plain_pass_a_text(family, end):
    llm = tiny_language_model(family)
    found = score_texts(llm.model, llm.lm_head, ROWS, end)
    assert [len(scores.log_probabilities) for scores in found] == [5, 1, 3]
    for row, scores in zip(ROWS, found, strict=True):
        for text, log_probability in zip(row.texts, scores.log_probabilities, strict=True):
            expected = text if end is None else [*text, end]
            ids = torch.tensor([[*row.prompt, *expected]])
            logits = llm(ids).logits[0, len(row.prompt) - 1 : -1]
            by_hand = logits.log_softmax(-1)[range(len(expected)), expected].sum()
            terms = num_terms(llm, ids.numel())
            assert_equal_but_for_rounding(log_probability, by_hand, terms, what=f"{row.prompt} {text}")
    assert found[0].log_probabilities[0] == found[0].log_probabilities[4]
    assert len({round(value, 3) for value in found[0].log_probabilities}) == 4


@pytest.mark.parametrize("family", SCORING_FAMILIES)
@torch.no_grad()
def test_generation_goes_on_from_what_was_read(family):
    llm = tiny_language_model(family)
    found = score_texts(llm.model, llm.lm_head, ROWS, END)
    for row, scores in zip(ROWS, found, strict=True):
        for place, text in enumerate(row.texts):
            text_cache = scores.text_cache(place)
            assert text_cache.input_ids == [*row.prompt, *text]
            prompt = torch.tensor([[*text_cache.input_ids, 80, 81]])
            expected = llm.generate(prompt, max_new_tokens=6, do_sample=False)
            for num_tokens in (len(text_cache.input_ids), len(row.prompt), 1):
                cache = text_cache.first(num_tokens)
                assert cache.get_seq_length() == num_tokens
                tokens = llm.generate(prompt, max_new_tokens=6, do_sample=False, **{CACHE_ARGUMENT: cache})
                assert torch.equal(tokens, expected), (row.prompt, text, num_tokens)
            assert text_cache.cache.get_seq_length() == len(text_cache.input_ids)  # going on left it as it was
