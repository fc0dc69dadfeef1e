"""transformers' continuous batching answers texts as `generate` does; prompts with audio, for which it has no place, are refused by name."""

import pytest
from transformers import ContinuousBatchingConfig

from tests.modeling.test_modeling_aura import clip, prompt, text
from tests.support.releases import needs_transformers_5_24
from tests.support.tiny_models import tiny_student


SMALL = {
    "page_size": 16,
    "num_blocks": 16,
    "max_batch_tokens": 16,
    "use_cuda_graph": False,
}  # of 60 tokens, several passes


@pytest.fixture
def student(tmp_path):
    student = tiny_student(tmp_path)
    student.generation_config.eos_token_id = 3
    return student


@needs_transformers_5_24
@pytest.mark.filterwarnings("ignore")  # what the stock method says of a CPU
@pytest.mark.parametrize("scope", ["rows", "always"])
def test_texts_are_answered_as_generate_does(student, scope):
    student.config.lora_scope = scope
    prompts = [text(length, length).tolist() for length in (5, 9, 30, 16)]
    settings = {"max_new_tokens": 5, "do_sample": False}
    expected = [
        student.generate(text(len(ids), len(ids)).unsqueeze(0), **settings)[0, len(ids) :].tolist() for ids in prompts
    ]
    answers = student.generate_batch(
        prompts, continuous_batching_config=ContinuousBatchingConfig(**SMALL), max_new_tokens=5
    )
    found = {tuple(answer.prompt_ids): answer for answer in answers.values()}
    assert [found[tuple(ids)].error for ids in prompts] == [None] * 4
    assert [found[tuple(ids)].generated_tokens for ids in prompts] == expected


@pytest.mark.fault("requests")
def test_prompts_with_audio_and_prompts_that_are_too_long_are_refused(student):
    with_audio, _ = prompt(student, text(4), clip(5))
    with pytest.raises(ValueError, match=r"takes token ids alone: .* `model.generate\(\*\*inputs\)`"):
        student.generate_batch([text(5).tolist(), with_audio.tolist()])
    with pytest.raises(ValueError, match="takes 8192 tokens: it has 9000 of text"):
        student.generate_batch([[5] * 9000])
