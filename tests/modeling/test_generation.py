"""`generate` is that of transformers: a student obeys every setting as its base LLM does, with audio too."""

import types

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    GenerationConfig,
    GenerationMixin,
    LogitsProcessorList,
    StoppingCriteriaList,
    WatermarkingConfig,
    set_seed,
)

from tests.modeling.test_modeling_aura import batch, clip, mixed_rows, prompt, text
from tests.support.tiny import tiny_tokenizer
from tests.support.tiny_models import (
    FAMILIES,
    RESERVED_TOKEN,
    save_tiny_language_model,
    tiny_language_model,
    tiny_student,
)
from tests.support.tolerance import assert_equal_but_for_rounding, num_terms
from transformers_aura import AuraForSpeechQA


pytestmark = pytest.mark.numerical


def test_it_is_the_stock_method():
    assert AuraForSpeechQA.generate is GenerationMixin.generate
    stock = {name for name, value in vars(GenerationMixin).items() if callable(value) and not name.startswith("__")}
    assert {name for name in stock if getattr(AuraForSpeechQA, name) is not getattr(GenerationMixin, name)} <= {
        "prepare_inputs_for_generation",
        "_expand_inputs_for_generation",
        "_get_logits_processor",
        "_get_candidate_generator",
        "_prepare_generated_length",
    }


# ------------------------------------------------------------------------------------- greedy, written by hand


@torch.no_grad()
def by_hand(student, inputs, num_tokens, end):
    """The likeliest token again and again, each from one pass over everything so far."""
    inputs = dict(inputs)
    over = torch.zeros(len(inputs["input_ids"]), dtype=torch.bool)
    for _ in range(num_tokens):
        token = student(**inputs, use_cache=False).logits[:, -1].argmax(-1).masked_fill(over, 0)
        over |= token == end
        inputs["input_ids"] = torch.cat([inputs["input_ids"], token[:, None]], dim=-1)
        inputs["attention_mask"] = torch.nn.functional.pad(inputs["attention_mask"], (0, 1), value=1)
        if over.all():
            break
    return inputs["input_ids"]


@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_tokens_are_those_of_a_loop_over_forward(family, tmp_path):
    student = tiny_student(tmp_path, family)
    rows = mixed_rows(student)
    for some in (rows, rows[:1], rows[1:2], rows[2:3]):
        inputs = batch(some)
        free = by_hand(student, inputs, 8, end=-1)
        end = int(free[0, -4])  # a token that some row comes to
        expected = by_hand(student, inputs, 8, end)
        assert torch.equal(student.generate(**inputs, max_new_tokens=8, do_sample=False, eos_token_id=end), expected)


# ---------------------------------------------------------------------- the settings, as the base LLM obeys them

PROMPT_LENGTH = 15


def first(greedy, place=0):
    """A token of the greedy answer."""
    return int(greedy[place])


SAMPLE = {"do_sample": True, "temperature": 1.5}

# Field of `GenerationConfig` -> settings that make it count, given the tokens of the greedy answer.
OBEYED = {
    "max_length": lambda greedy: {"max_length": PROMPT_LENGTH + 3, "max_new_tokens": None},
    "max_new_tokens": lambda greedy: {"max_new_tokens": 3},
    "min_length": lambda greedy: {"min_length": PROMPT_LENGTH + 6, "eos_token_id": first(greedy, 2)},
    "min_new_tokens": lambda greedy: {"min_new_tokens": 6, "eos_token_id": first(greedy, 2)},
    "early_stopping": lambda greedy: {"early_stopping": True, "num_beams": 4, "eos_token_id": first(greedy, 2)},
    "max_time": lambda greedy: {"max_time": 1e-9},
    "stop_strings": lambda greedy: {
        "stop_strings": [tiny_tokenizer().decode([33] * 3)],
        "tokenizer": tiny_tokenizer(),
        "sequence_bias": [[[33], 50.0]],
    },
    "do_sample": lambda greedy: {"do_sample": True},
    "num_beams": lambda greedy: {"num_beams": 4},
    "use_cache": lambda greedy: {"use_cache": False},
    "cache_implementation": lambda greedy: {"cache_implementation": "static"},
    "max_cache_len": lambda greedy: {"cache_implementation": "static", "max_cache_len": 64},
    "temperature": lambda greedy: {"do_sample": True, "temperature": 3.0},
    "top_k": lambda greedy: {**SAMPLE, "top_k": 2},
    "top_p": lambda greedy: {**SAMPLE, "top_p": 0.2},
    "min_p": lambda greedy: {**SAMPLE, "min_p": 0.6},
    "top_h": lambda greedy: {**SAMPLE, "top_h": 0.2},
    "typical_p": lambda greedy: {**SAMPLE, "typical_p": 0.1},
    "epsilon_cutoff": lambda greedy: {**SAMPLE, "epsilon_cutoff": 0.05},
    "eta_cutoff": lambda greedy: {**SAMPLE, "eta_cutoff": 0.9},
    "repetition_penalty": lambda greedy: {"repetition_penalty": 0.1},
    "encoder_repetition_penalty": lambda greedy: {"encoder_repetition_penalty": 9.0},
    "length_penalty": lambda greedy: {"length_penalty": -9.0, "num_beams": 4, "eos_token_id": first(greedy, 2)},
    "no_repeat_ngram_size": lambda greedy: {"no_repeat_ngram_size": 1, "sequence_bias": [[[33], 50.0]]},
    "encoder_no_repeat_ngram_size": lambda greedy: {
        "encoder_no_repeat_ngram_size": 1,
        "sequence_bias": [[[first(text(PROMPT_LENGTH, 3))], 50.0]],
    },
    "bad_words_ids": lambda greedy: {"bad_words_ids": [[first(greedy)], greedy[3:5].tolist()]},
    "renormalize_logits": lambda greedy: {**SAMPLE, "top_k": 2, "renormalize_logits": True},
    "forced_eos_token_id": lambda greedy: {"forced_eos_token_id": 11},
    "remove_invalid_values": lambda greedy: {"remove_invalid_values": True},
    "exponential_decay_length_penalty": lambda greedy: {
        "exponential_decay_length_penalty": (1, 9.0),
        "eos_token_id": 30,
    },
    "suppress_tokens": lambda greedy: {"suppress_tokens": [first(greedy)]},
    "begin_suppress_tokens": lambda greedy: {"begin_suppress_tokens": [first(greedy)]},
    "sequence_bias": lambda greedy: {"sequence_bias": [[[first(greedy)], -50.0], [[33], 50.0]]},
    "guidance_scale": lambda greedy: {"guidance_scale": 4.0},
    "watermarking_config": lambda greedy: {"watermarking_config": WatermarkingConfig(bias=20.0)},
    "num_return_sequences": lambda greedy: {"num_beams": 4, "num_return_sequences": 3},
    "output_hidden_states": lambda greedy: {"return_dict_in_generate": True, "output_hidden_states": True},
    "output_scores": lambda greedy: {"return_dict_in_generate": True, "output_scores": True, "temperature": 0.5},
    "output_logits": lambda greedy: {"return_dict_in_generate": True, "output_logits": True},
    "return_dict_in_generate": lambda greedy: {"return_dict_in_generate": True},
    "pad_token_id": lambda greedy: {"pad_token_id": 12, "eos_token_id": first(greedy, 2)},
    "eos_token_id": lambda greedy: {"eos_token_id": [first(greedy, 2), 261]},
    "prompt_lookup_num_tokens": lambda greedy: {"prompt_lookup_num_tokens": 3},
    "max_matching_ngram_size": lambda greedy: {"prompt_lookup_num_tokens": 3, "max_matching_ngram_size": 1},
    "num_assistant_tokens": lambda greedy: {"assistant_model": tiny_assistant(), "num_assistant_tokens": 3},
    "num_assistant_tokens_schedule": lambda greedy: {
        "assistant_model": tiny_assistant(),
        "num_assistant_tokens_schedule": "constant",
    },
    "assistant_confidence_threshold": lambda greedy: {
        "assistant_model": tiny_assistant(),
        "assistant_confidence_threshold": 0.1,
    },
    "prefill_chunk_size": lambda greedy: {"prefill_chunk_size": 4},
}

# These cost time or say more, but change no token here.
SAME_TOKENS = {
    "early_stopping", "use_cache", "cache_implementation", "max_cache_len", "renormalize_logits", "remove_invalid_values", "output_hidden_states",
    "output_scores", "output_logits", "return_dict_in_generate", "prompt_lookup_num_tokens", "max_matching_ngram_size", "num_assistant_tokens",
    "num_assistant_tokens_schedule", "assistant_confidence_threshold", "prefill_chunk_size", "pad_token_id",
}  # fmt: skip

# These read the tokens of the prompt, which a base LLM that is given embeddings does not have.
READS_THE_PROMPT = {
    "max_length", "min_length", "repetition_penalty", "encoder_repetition_penalty", "no_repeat_ngram_size", "encoder_no_repeat_ngram_size",
    "guidance_scale", "watermarking_config", "prompt_lookup_num_tokens", "max_matching_ngram_size", "num_assistant_tokens", "num_assistant_tokens_schedule",
    "assistant_confidence_threshold", "prefill_chunk_size", "use_cache",
}  # fmt: skip

LEFT_OUT = {
    "cache_config": "of quantised caches, which need another package",
    "use_mtp": "of LLMs that predict several tokens at once; no supported family does",
    "forced_bos_token_id": "acts behind a prompt of one token: for encoders and decoders",
    "decoder_start_token_id": "for encoders and decoders",
    "bos_token_id": "begins an answer to no prompt at all",
    "token_healing": "changes the prompt before the model sees it; needs a tokenizer with a token that begins texts",
    "output_attentions": "needs the eager attention",
    "is_assistant": "set by transformers in the assistant",
    "assistant_early_exit": "of LLMs whose middle layers were trained to answer",
    "assistant_lookbehind": "of assistants with another tokenizer",
    "target_lookbehind": "of assistants with another tokenizer",
    "assistant_ensemble_weight": "of assistants with another tokenizer",
    "speculation_type": "names the kind of an assistant",
    "compile_config": "how passes are compiled",
    "disable_compile": "how passes are compiled",
    "continuous_batching_config": "of `generate_batch`",
    "low_memory": "code on the Hub, no longer in transformers",
    "penalty_alpha": "code on the Hub, no longer in transformers",
    "dola_layers": "code on the Hub, no longer in transformers",
    "diversity_penalty": "code on the Hub, no longer in transformers",
    "num_beam_groups": "code on the Hub, no longer in transformers",
    "constraints": "code on the Hub, no longer in transformers",
    "force_words_ids": "code on the Hub, no longer in transformers",
    "transformers_version": "no setting",
}

FIELDS = {name for name in vars(GenerationConfig()) if not name.startswith("_")}
OBEYED_HERE = sorted(FIELDS & OBEYED.keys())


def test_every_field_is_tested_or_left_out_with_a_reason():
    assert sorted(FIELDS - OBEYED.keys() - LEFT_OUT.keys()) == []
    assert not OBEYED.keys() & LEFT_OUT.keys()


def tiny_assistant():
    return tiny_language_model(seed=1)


@pytest.fixture(scope="module")
def base_folder(tmp_path_factory):
    return save_tiny_language_model(tmp_path_factory.mktemp("base"), "qwen2")


@pytest.fixture(scope="module")
def base(base_folder):
    return AutoModelForCausalLM.from_pretrained(base_folder)


@pytest.fixture(scope="module")
def student(base_folder):
    return tiny_student(base_folder)


@pytest.fixture(scope="module")
def untaught(base_folder):
    """A student whose LoRA changes nothing and whose audio is read causally: with audio too it is its base LLM, which is given embeddings."""
    student = tiny_student(base_folder, tokens_per_block=1)
    with torch.no_grad():
        for name, parameter in student.named_parameters():
            if ".lora_B." in name:
                parameter.zero_()
    return student


def answer(model, inputs, settings):
    set_seed(0)
    return model.generate(**inputs, **{"max_new_tokens": 8, "do_sample": False, "pad_token_id": 0, **settings})


def new_tokens(output, length):
    return (output if isinstance(output, torch.Tensor) else output.sequences)[:, length:]


def assert_same_output(found, expected, terms):
    """Tokens, and all else that was asked for."""
    if isinstance(expected, torch.Tensor):
        assert torch.equal(found, expected)
        return
    assert type(found) is type(expected)
    for name, value in expected.items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(found[name], value), name
        elif isinstance(value, tuple):
            flat_found, flat_expected = list(flattened(found[name])), list(flattened(value))
            assert len(flat_found) == len(flat_expected) > 0
            for one, other in zip(flat_found, flat_expected, strict=True):
                assert_equal_but_for_rounding(one, other, terms, what=name)


def flattened(values):
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        else:
            yield from flattened(value)


@pytest.mark.parametrize("field", OBEYED_HERE)
def test_text_is_answered_as_the_base_llm_does(student, base, field):
    inputs = batch([prompt(student, text(PROMPT_LENGTH, 3)), prompt(student, text(9, 5))])
    if "assistant" in field or "prompt_lookup" in field or "ngram_size" in field or field == "guidance_scale":
        inputs = {name: value[:1] for name, value in inputs.items()}  # assistants answer one row at a time
    settings = OBEYED[field](answer(base, inputs, {})[0, PROMPT_LENGTH:])
    expected = answer(base, inputs, settings)
    assert_same_output(answer(student, inputs, settings), expected, num_terms(base, PROMPT_LENGTH + 8))
    without = answer(base, inputs, {name: value for name, value in settings.items() if name != field})
    same = torch.equal(new_tokens(without, PROMPT_LENGTH), new_tokens(expected, PROMPT_LENGTH))
    assert same or field not in SAME_TOKENS - {"pad_token_id"}
    assert not same or field in SAME_TOKENS, "the setting changes nothing here: what would the test find?"


@pytest.mark.parametrize("form", ["features", "embeddings"])
@pytest.mark.parametrize("field", [field for field in OBEYED_HERE if field not in READS_THE_PROMPT])
def test_audio_is_answered_as_the_base_llm_answers_its_embeddings(untaught, base, field, form):
    inputs = batch(
        [prompt(untaught, text(4, 1), clip(9, 1), text(6, 2)), prompt(untaught, clip(3, 2), text(2, 4), clip(6, 3))]
    )
    with torch.no_grad():
        embedded = untaught.model(**inputs, num_hidden_layers=0).last_hidden_state
    if form == "embeddings":
        features = untaught.get_audio_features(inputs.pop("input_features"), inputs.pop("input_features_mask"))
        inputs |= {"audio_embeds": features.last_hidden_state.detach(), "audio_embeds_mask": features.audio_token_mask}
    as_embeddings = {"inputs_embeds": embedded, "attention_mask": inputs["attention_mask"]}
    settings = OBEYED[field](answer(base, as_embeddings, {})[0])
    expected = answer(base, as_embeddings, settings)
    found = answer(untaught, inputs, settings)
    assert torch.equal(new_tokens(found, inputs["input_ids"].shape[1]), new_tokens(expected, 0))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"num_beams": 3},
        {"num_beams": 4, "num_return_sequences": 3},
        {"do_sample": True, "num_return_sequences": 3},
    ],
)
@torch.no_grad()
def test_embeddings_take_the_place_of_features(student, settings):
    inputs = batch(mixed_rows(student))
    features = student.get_audio_features(inputs["input_features"], inputs["input_features_mask"])
    given = {name: inputs[name] for name in ("input_ids", "attention_mask")}
    given |= {"audio_embeds": features.last_hidden_state, "audio_embeds_mask": features.audio_token_mask}
    assert torch.equal(student(**given).logits, student(**inputs).logits)
    assert torch.equal(answer(student, given, settings), answer(student, inputs, settings))
    one = batch([prompt(student, text(4, 1), clip(9, 1, spare_frames=0), text(6, 2))])
    features = student.get_audio_features(one.pop("input_features"), one.pop("input_features_mask"))
    whole = answer(student, {**one, "audio_embeds": features.last_hidden_state}, settings)
    masked = {"audio_embeds": features.last_hidden_state, "audio_embeds_mask": features.audio_token_mask}
    assert torch.equal(whole, answer(student, {**one, **masked}, settings))


def test_two_forms_of_a_clip_are_refused(student):
    inputs = batch([prompt(student, clip(8))])
    with pytest.raises(ValueError, match="two forms of the same clips"):
        student(**inputs, audio_embeds=torch.zeros(1, 8, 32))
    del inputs["input_features"], inputs["input_features_mask"]
    with pytest.raises(ValueError, match=r"hold 8 audio positions, but .* make 7 audio embeddings"):
        student(**inputs, audio_embeds=torch.zeros(1, 7, 32))


def test_processors_and_criteria_of_the_caller_are_asked(student):
    inputs = batch(mixed_rows(student))
    seen = types.SimpleNamespace(lengths=[])

    def only_seventy(input_ids, scores):
        seen.lengths.append(input_ids.shape[1])
        return torch.full_like(scores, -float("inf")).index_fill(1, torch.tensor([70]), 0.0)

    def after_three(input_ids, scores):
        return torch.full((len(input_ids),), input_ids.shape[1] >= length + 3)

    length = inputs["input_ids"].shape[1]
    tokens = student.generate(
        **inputs,
        max_new_tokens=8,
        logits_processor=LogitsProcessorList([only_seventy]),
        stopping_criteria=StoppingCriteriaList([after_three]),
    )
    assert tokens[:, length:].tolist() == [[70] * 3] * 4
    assert seen.lengths == [length, length + 1, length + 2]


# --------------------------------------------------------------------------- settings that look up the audio token

# Settings of `generate`, and whether the greedy tokens stay what they are.
LOOK_UP_THE_PROMPT = {
    "encoder_repetition_penalty": (lambda student, base: {"encoder_repetition_penalty": 1.3}, False),
    "encoder_no_repeat_ngram_size": (lambda student, base: {"encoder_no_repeat_ngram_size": 1}, False),
    "prompt_lookup_num_tokens": (lambda student, base: {"prompt_lookup_num_tokens": 3}, True),
    "assistant_model": (lambda student, base: {"assistant_model": base}, True),
    "assistant_model that hears": (lambda student, base: {"assistant_model": student}, True),
}


@pytest.fixture(scope="module")
def with_reserved_token(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reserved")
    save_tiny_language_model(folder, special_tokens=(RESERVED_TOKEN,))
    return tiny_student(folder), AutoModelForCausalLM.from_pretrained(folder)


@pytest.mark.parametrize("setting", LOOK_UP_THE_PROMPT)
def test_an_audio_token_inside_the_vocabulary_can_be_looked_up(setting, with_reserved_token):
    student, base = with_reserved_token
    settings, is_greedy = LOOK_UP_THE_PROMPT[setting]
    inputs = batch([prompt(student, text(4, 1), clip(9, 1), text(6, 2), text(4, 1))])
    expected = student.generate(**inputs, max_new_tokens=12, do_sample=False)
    found = student.generate(**inputs, max_new_tokens=12, do_sample=False, **settings(student, base))
    assert torch.equal(found, expected) or not is_greedy


@pytest.mark.parametrize("setting", LOOK_UP_THE_PROMPT)
def test_an_audio_token_beyond_the_vocabulary_is_refused_by_name(setting, tmp_path):
    student, base = tiny_student(tmp_path), AutoModelForCausalLM.from_pretrained(tmp_path)
    settings = LOOK_UP_THE_PROMPT[setting][0](student, base)
    with pytest.raises(
        ValueError, match=f"`{setting.split()[0]}` looks up .* audio token has the id 264, beyond the 264 tokens"
    ):
        student.generate(**batch([prompt(student, text(4, 1), clip(9, 1))]), max_new_tokens=4, **settings)
    student.generate(**batch([prompt(student, text(4, 1))]), max_new_tokens=4, **settings)


def test_the_student_is_no_assistant_of_its_own(with_reserved_token):
    student, _ = with_reserved_token
    inputs = batch([prompt(student, text(4, 1), clip(9, 1))])
    with pytest.raises(ValueError, match="`assistant_early_exit` does not work"):
        student.generate(**inputs, max_new_tokens=2, assistant_early_exit=1)


@torch.no_grad()
def test_the_audio_token_is_no_answer_to_audio_and_a_token_like_any_other_in_text(with_reserved_token):
    student, base = with_reserved_token
    token, head = student.config.audio_token_id, student.lm_head
    bias = torch.zeros(base.config.vocab_size).index_fill_(0, torch.tensor([token]), 1e4)
    handles = [module.register_forward_hook(lambda *call: call[-1] + bias) for module in (head, base.lm_head)]
    inputs = batch([prompt(student, text(4, 1), clip(9, 1), text(6, 2)), prompt(student, text(15, 3))])
    answers = student.generate(**inputs, max_new_tokens=4, do_sample=False)[:, -4:]
    assert token not in answers[0]
    assert answers[1].tolist() == [token] * 4
    uncached = student.generate(**inputs, max_new_tokens=4, do_sample=False, use_cache=False)
    assert torch.equal(uncached[:, -4:], answers)
    for handle in handles:
        handle.remove()
