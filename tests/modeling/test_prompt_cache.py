"""What prompts begin with is computed once; the answers are those without."""

import threading

import pytest
import torch
from peft import LoraConfig, get_peft_model

from tests.modeling.test_modeling_aura import batch, clip, prompt, text
from tests.support.tiny_models import tiny_student
from transformers_aura.modeling.prompt_cache import PromptCache


pytestmark = pytest.mark.numerical
GREEDY = {"max_new_tokens": 6, "do_sample": False}
HEAD = text(12, 1)


@pytest.fixture
def student(tmp_path):
    return tiny_student(tmp_path)


def request(student, seed, head=HEAD):
    return batch([prompt(student, head, clip(9, seed), text(4, seed))])


def lengths_of_passes(student, monkeypatch):
    """Tokens of each pass of the LLM."""
    lengths, forward = [], student.model.language_model.forward

    def counted(*args, **kwargs):
        lengths.append(kwargs["inputs_embeds"].shape[1])
        return forward(*args, **kwargs)

    monkeypatch.setattr(student.model.language_model, "forward", counted)
    return lengths


@pytest.mark.parametrize("settings", [{}, {"num_beams": 2}], ids=["greedy", "beams"])
@pytest.mark.parametrize("scope", ["rows", "audio"])
def test_later_requests_go_on_from_what_the_first_one_left(student, monkeypatch, settings, scope):
    student.config.lora_scope = scope
    requests = [request(student, seed) for seed in (1, 2)]
    requests.append(batch([prompt(student, HEAD, clip(9, seed), text(4, seed)) for seed in (3, 4)]))
    expected = [student.generate(**inputs, **GREEDY, **settings) for inputs in requests]
    prompts, lengths = PromptCache(student), lengths_of_passes(student, monkeypatch)
    prefills = []
    for inputs, tokens in zip(requests, expected, strict=True):
        with prompts.reused(inputs, **settings) as given:
            assert torch.equal(student.generate(**given, **GREEDY, **settings), tokens)
        prefills.append(lengths[0])
        lengths.clear()
    assert prefills == [25, 13, 13]
    assert len(prompts) == 1


def test_few_are_kept(student):
    prompts = PromptCache(student, max_prompts=2)
    for seed in (1, 2, 1, 3):
        with prompts.reused(request(student, 1, head=text(5, seed))) as inputs:
            student.generate(**inputs, max_new_tokens=1)
    assert [list(kept) for kept in prompts._kept] == [text(5, seed).tolist() for seed in (1, 3)]
    prompts.clear()
    assert not len(prompts)
    with pytest.raises(ValueError, match="`max_prompts` must be 1 at least, got 0"):
        PromptCache(student, max_prompts=0)


def retrain(student):
    with torch.no_grad():
        for name, parameter in student.named_parameters():
            if ".lora_B." in name:
                parameter.mul_(-1.0)


def adapt(student):
    model = get_peft_model(student, LoraConfig(r=2, target_modules=["v_proj"]))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B.default." in name:
                parameter.fill_(0.3)


def switch_scope(student):
    student.config.lora_scope = "audio"


@pytest.mark.parametrize("change", [retrain, adapt, switch_scope])
def test_nothing_is_kept_of_other_weights(student, change):
    inputs, prompts = request(student, 1), PromptCache(student)
    with prompts.reused(inputs) as given:
        student.generate(**given, **GREEDY)
    change(student)
    expected = student.generate(**inputs, **GREEDY)
    for _ in range(2):
        with prompts.reused(inputs) as given:
            assert torch.equal(student.generate(**given, **GREEDY), expected)


def test_what_cannot_go_on_is_left_as_it_is(student):
    prompts, inputs = PromptCache(student), request(student, 1)
    padded = batch([prompt(student, HEAD, clip(9, 1)), prompt(student, HEAD, clip(4, 2))])
    mixed = batch([prompt(student, HEAD, clip(3, 1)), prompt(student, HEAD, text(3, 2))])
    starts_with_audio = batch([prompt(student, clip(9, 1), HEAD)])
    for given, settings in [
        (padded, {}),
        (mixed, {}),
        (starts_with_audio, {}),
        (batch([prompt(student, HEAD)]), {}),
        (inputs, {"cache_implementation": "static"}),
        (inputs, {"use_cache": False}),
    ]:
        with prompts.reused(given, **settings) as same:
            assert same == given
    with pytest.raises(ZeroDivisionError), prompts.reused(inputs):
        raise ZeroDivisionError  # what a failed call has computed is not kept
    assert not len(prompts)


def test_threads_share_it(student):
    requests = [request(student, seed, head=text(6, seed % 2)) for seed in range(6)]
    expected = [student.generate(**inputs, **GREEDY) for inputs in requests]
    prompts, found = PromptCache(student, max_prompts=1), {}

    def ask(number):
        with prompts.reused(requests[number]) as inputs:
            found[number] = student.generate(**inputs, **GREEDY)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(found[number], tokens) for number, tokens in enumerate(expected))
