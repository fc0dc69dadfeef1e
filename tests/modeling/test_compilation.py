"""`torch.compile` takes a pass as one graph: the prefill of a padded length, and a token with a static cache; eager passes beside it stay what they are."""

import threading

import pytest
import torch
from transformers import CompileConfig, StaticCache

from tests.modeling.test_modeling_aura import batch, clip, mixed_rows, prompt, text
from tests.support.tiny_models import FAMILIES, save_tiny_language_model, tiny_student
from tests.support.tolerance import assert_equal_but_for_rounding, num_terms
from transformers_aura.modeling.cache_argument import CACHE_ARGUMENT


pytestmark = pytest.mark.numerical


@pytest.fixture(autouse=True)
def graphs():
    """Counts of what is compiled in a test."""
    torch.compiler.reset()
    torch._dynamo.utils.counters.clear()
    yield torch._dynamo.utils.counters["stats"]
    torch.compiler.reset()


def small_student(folder, family="llama"):
    """Two layers, one of them with LoRA: tracing takes a second a layer."""
    return tiny_student(
        save_tiny_language_model(folder, family, **LAYERS.get(family, {"num_hidden_layers": 2})), lora_num_layers=1
    )


LAYERS = {"gemma3_text": {"num_hidden_layers": 2, "layer_types": ["sliding_attention", "full_attention"]}}


def whole_graph(student):
    """Compiled, or an error where the graph would break. (What the graph is turned into is the backend's.)"""
    return torch.compile(student, fullgraph=True, dynamic=False, backend="eager")


def padded(inputs, num_tokens, num_frames):
    """The inputs of a bucket: text and audio padded on the right."""
    more, frames = num_tokens - inputs["input_ids"].shape[1], num_frames - inputs["input_features"].shape[1]
    return {
        "input_ids": torch.nn.functional.pad(inputs["input_ids"], (0, more)),
        "attention_mask": torch.nn.functional.pad(inputs["attention_mask"], (0, more)),
        "input_features": torch.nn.functional.pad(inputs["input_features"], (0, 0, 0, frames)),
        "input_features_mask": torch.nn.functional.pad(inputs["input_features_mask"], (0, frames)),
    }


def static_cache(student):
    return StaticCache(config=student.config.text_config, max_cache_len=48)


@pytest.mark.parametrize(
    "family", [family if family == "llama" else pytest.param(family, marks=pytest.mark.slow) for family in FAMILIES]
)
@torch.no_grad()
def test_prefill_of_a_bucket_and_decoding_have_no_graph_break(family, graphs, tmp_path):
    student = small_student(tmp_path, family)
    compiled = whole_graph(student)
    for parts in [(text(4, 1), clip(9, 1), text(6, 2)), (text(3, 4), clip(10, 2))]:
        inputs = batch([prompt(student, *parts)])
        length = inputs["input_ids"].shape[1]
        cache, terms = static_cache(student), num_terms(student, length)
        bucket = padded(inputs, 32, 80)
        positions = bucket["input_ids"] == student.config.audio_token_id
        found = compiled(**bucket, audio_positions=positions, **{CACHE_ARGUMENT: cache}).logits[:, :length]
        dynamic = student(**inputs, use_cache=True)
        assert_equal_but_for_rounding(found, dynamic.logits, terms)

        cache = static_cache(student)
        student(**inputs, **{CACHE_ARGUMENT: cache})
        cache_of = dynamic[CACHE_ARGUMENT]
        for token in (7, 11):
            token = torch.tensor([[token]])
            found = compiled(input_ids=token, audio_rows=torch.tensor([True]), **{CACHE_ARGUMENT: cache}).logits
            expected = student(input_ids=token, audio_rows=True, **{CACHE_ARGUMENT: cache_of}).logits
            assert_equal_but_for_rounding(found, expected, terms)
    if (
        family != "gemma3_text"
    ):  # a static sliding window counts in Python, and is compiled anew for each token until it is full
        assert graphs["unique_graphs"] == 2


@torch.no_grad()
def test_rows_of_text_beside_audio_are_the_base_llm_in_a_graph_too(tmp_path):
    student = small_student(tmp_path)
    inputs = batch(mixed_rows(student))
    positions = inputs["input_ids"] == student.config.audio_token_id
    expected, found = student(**inputs).logits, whole_graph(student)(**inputs, audio_positions=positions).logits
    assert_equal_but_for_rounding(found, expected, num_terms(student, expected.shape[1]))
    text_only = student(input_ids=inputs["input_ids"].clamp(max=59), attention_mask=inputs["attention_mask"]).logits
    assert torch.equal(found[[1, 3]], text_only[[1, 3]])


@torch.no_grad()
def test_threads_share_a_compiled_student(tmp_path):
    student = small_student(tmp_path)
    compiled, requests, found = (
        whole_graph(student),
        [batch([prompt(student, text(4, s), clip(9, s))]) for s in range(2)],
        {},
    )
    expected = [student(**request).logits for request in requests]

    def ask(number):
        with torch.no_grad():
            positions = requests[number]["input_ids"] == student.config.audio_token_id
            found[number] = compiled(**requests[number], audio_positions=positions).logits

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, logits in enumerate(expected):
        assert_equal_but_for_rounding(found[number], logits, num_terms(student, logits.shape[1]))


@pytest.mark.parametrize("rows", ["audio", pytest.param("mixed", marks=pytest.mark.slow)])
def test_generate_compiles_by_itself_with_a_static_cache(tmp_path, graphs, rows):
    student = small_student(tmp_path)
    inputs = batch(mixed_rows(student) if rows == "mixed" else mixed_rows(student)[::2])
    greedy = {"max_new_tokens": 8, "do_sample": False}
    expected = student.generate(**inputs, **greedy)
    assert torch.equal(student.generate(**inputs, **greedy, cache_implementation="static"), expected)
    config = CompileConfig(fullgraph=True, backend="eager")
    config._compile_all_devices = True  # as on an accelerator
    tokens = student.generate(**inputs, **greedy, cache_implementation="static", compile_config=config)
    assert torch.equal(tokens, expected)
    assert graphs["unique_graphs"] == 1
