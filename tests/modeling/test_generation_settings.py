"""What a call of `generate` leaves open, and how its transcripts end."""

import copy

import pytest
import torch
from transformers import GenerationConfig, LogitsProcessorList

from transformers_aura.modeling.generation_settings import GenerationSettings


DEFAULT = GenerationConfig(eos_token_id=7, max_length=20)


def settings_of(given=None, logits_processor=None, **kwargs):
    return GenerationSettings.of_call(DEFAULT, given, logits_processor, kwargs)


@pytest.mark.parametrize("kwargs", [{}, {"max_new_tokens": 5}, {"do_sample": False, "pad_token_id": 3}])
def test_how_long_and_padded_with_what_leaves_all_open(kwargs):
    assert settings_of(**kwargs).leaves_all_open


@pytest.mark.parametrize(
    "kwargs",
    [
        {"num_beams": 1},
        {"num_beams": 4},
        {"do_sample": True},
        {"given": GenerationConfig(num_return_sequences=2, num_beams=2)},
        {"streamer": object()},
    ],
)
def test_who_says_how_to_search_leaves_no_search_open(kwargs):
    settings = settings_of(**kwargs)
    assert not settings.leaves_search_open
    assert not settings.leaves_all_open


@pytest.mark.parametrize(
    "kwargs",
    [
        {"given": GenerationConfig(repetition_penalty=1.2)},
        {"given": GenerationConfig(bad_words_ids=[[4]])},
        {"given": GenerationConfig(stop_strings=["."])},
        {"stopping_criteria": [object()]},
        {"logits_processor": LogitsProcessorList([object()])},
        {"output_scores": True},
        {"return_dict_in_generate": True},
    ],
)
def test_who_shapes_the_text_or_asks_for_more_leaves_the_search_but_not_all_open(kwargs):
    settings = settings_of(**kwargs)
    assert settings.leaves_search_open
    assert settings.leaves_cache_open
    assert not settings.leaves_all_open


@pytest.mark.parametrize(
    "kwargs", [{"use_cache": False}, {"cache_implementation": "static"}, {"prefill_chunk_size": 4}]
)
def test_who_chooses_a_cache_leaves_none_open(kwargs):
    settings = settings_of(**kwargs)
    assert settings.leaves_search_open
    assert not settings.leaves_cache_open
    assert not settings.leaves_all_open


@pytest.mark.parametrize("deep", [False, True])
def test_how_the_llm_chats_is_not_how_a_transcript_is_written(deep):
    chats = GenerationConfig(do_sample=True, temperature=0.7, repetition_penalty=1.1, eos_token_id=7)
    given = copy.deepcopy(chats) if deep else None  # as callers copy a config to change one thing
    settings = GenerationSettings.of_call(chats, given, None, {})
    assert settings.leaves_all_open
    assert settings.likeliest == {"do_sample": False, "repetition_penalty": 1.0}
    penal = GenerationSettings.of_call(chats, given, None, {"repetition_penalty": 1.3})
    assert penal.leaves_search_open
    assert not penal.leaves_all_open
    assert penal.likeliest["repetition_penalty"] == 1.3
    assert not GenerationSettings.of_call(chats, given, None, {"do_sample": True}).leaves_search_open


def test_an_argument_goes_before_a_config_and_that_before_the_student():
    given = GenerationConfig(eos_token_id=[8, 9], max_new_tokens=4)
    assert settings_of().eos_token_ids == [7]
    assert settings_of(given).eos_token_ids == [8, 9]
    assert settings_of(given, eos_token_id=5).eos_token_ids == [5]
    assert settings_of(given).max_new_tokens == 4
    assert settings_of(given, max_new_tokens=3).max_new_tokens == 3
    assert settings_of().pad_token_id == 7  # the first end, where nobody names a padding


def test_texts_end_are_cut_and_padded():
    texts = [torch.tensor([1, 2, 3]), torch.tensor([1])]
    assert settings_of(pad_token_id=0).end(texts, prompt_length=2).tolist() == [[1, 2, 3, 7], [1, 7, 0, 0]]
    assert settings_of(pad_token_id=0, max_new_tokens=2).end(texts, prompt_length=2).tolist() == [[1, 2], [1, 7]]
    assert settings_of(pad_token_id=0).end(texts, prompt_length=18).tolist() == [[1, 2], [1, 7]]  # of 20 in all
    no_end = GenerationSettings.of_call(GenerationConfig(), None, None, {"max_new_tokens": 9})
    assert no_end.end(texts, prompt_length=2).tolist() == [[1, 2, 3], [1, 0, 0]]
