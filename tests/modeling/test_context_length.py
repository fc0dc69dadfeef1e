"""What is longer than the LLM's context is refused on every way, with the seconds of audio that fit."""

import re
import time

import numpy as np
import pytest
import torch
from transformers import AutoConfig, pipeline

from tests.support.tiny_models import babble, save_tiny_language_model, tiny_student, tiny_transcriber
from transformers_aura.modeling import generation_defaults
from transformers_aura.modeling.context_length import context_length


pytestmark = pytest.mark.fault("requests")
LIMIT = 96
REFUSED = rf"too long for the LLM, which takes {LIMIT} tokens"


@pytest.fixture(scope="module")
def pipe(tmp_path_factory):
    folder = tmp_path_factory.mktemp("short")
    save_tiny_language_model(folder / "base", max_position_embeddings=LIMIT)
    tiny_transcriber(folder, decoding_config={"beam_size": 4, "num_rescored": 2})
    return pipeline("audio-question-answering", model=str(folder / "student"))


def clip(num_tokens):
    """A recording of so many audio tokens."""
    return {"array": np.resize(babble(1.0)["array"], 1280 * num_tokens), "sampling_rate": 16_000}


def inputs_of(pipe, text, *audios):
    return pipe.processor(text=text, audio=list(audios), return_tensors="pt")


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, 4096),
        ({"rope_type": "linear", "factor": 4.0}, 16384),
        ({"rope_type": "dynamic", "factor": 2.0}, 8192),
        ({"rope_type": "yarn", "factor": 4.0}, 16384),
        ({"rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 2048}, 16384),
        ({"rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": 2048}, 4096),
        (
            {
                "rope_type": "llama3",
                "factor": 2.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 1024,
            },
            4096,
        ),
    ],
)
def test_scaled_positions_count(settings, expected):
    rope = {"rope_parameters": {"rope_theta": 1e4, **settings}} if settings else {}
    assert context_length(AutoConfig.for_model("llama", max_position_embeddings=4096, **rope)) == expected


def test_what_gemma_says_of_its_kinds_of_layers_is_within_the_limit():
    assert context_length(AutoConfig.for_model("gemma3_text", max_position_embeddings=4096)) == 4096


def test_a_scaled_llm_takes_what_a_plain_one_refuses(tmp_path):
    rope = {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}
    save_tiny_language_model(tmp_path, "llama", max_position_embeddings=LIMIT, rope_parameters=rope)
    student = tiny_student(tmp_path, "llama")
    ids = torch.full((1, 2 * LIMIT), 5)
    student(input_ids=ids)
    with pytest.raises(ValueError, match=f"takes {2 * LIMIT} tokens: it has {2 * LIMIT + 1} of text"):
        student(input_ids=torch.cat([ids, ids[:, :1]], dim=1))


def test_forward(pipe):
    model, fits = pipe.model, inputs_of(pipe, "abcdef" + "<|audio|>", clip(LIMIT - 6))
    model(**fits)
    with pytest.raises(ValueError, match=REFUSED + r".* 6 of text, 91 of audio \(7\.3 s\).* 7\.2 s of audio fit"):
        model(**inputs_of(pipe, "abcdef" + "<|audio|>", clip(LIMIT - 5)))
    with pytest.raises(ValueError, match=REFUSED + ".* 97 of text. Shorten the text .* by 1 tokens"):
        model(input_ids=torch.full((1, LIMIT + 1), 5))
    padded = pipe.processor(text=["a" * LIMIT, "b"], padding=True, pad_to_multiple_of=64, return_tensors="pt")
    assert padded.input_ids.shape[1] > LIMIT
    model(**padded)  # padding has no position
    step = model(**fits, use_cache=True)
    cache = getattr(step, "cache", None) or step.past_key_values
    with pytest.raises(ValueError, match=REFUSED):
        model(input_ids=torch.tensor([[5]]), cache=cache, audio_rows=torch.tensor([True]))


def test_generate(pipe):
    model, inputs = pipe.model, inputs_of(pipe, "abcdef" + "<|audio|>", clip(60))
    assert model.generate(**inputs, max_new_tokens=30, eos_token_id=None).shape[1] == LIMIT
    with pytest.raises(
        ValueError, match=REFUSED + r".* up to 31 of the answer .* to 30 at most, or .* 4\.7 s of audio"
    ):
        model.generate(**inputs, max_new_tokens=31)
    ends = model.generate(**inputs, max_length=10_000, eos_token_id=None)  # a limit of all tokens, which comes later
    assert ends.shape[1] == LIMIT
    with pytest.raises(ValueError, match=REFUSED + ".* no audio fits"):
        model.generate(**inputs_of(pipe, "a" * 100 + "<|audio|>", clip(9)), max_new_tokens=1)
    with pytest.raises(ValueError, match=REFUSED):
        model.generate(**inputs_of(pipe, "<|audio|>", clip(LIMIT)))


def test_the_seconds_that_are_named_fit(pipe):
    with pytest.raises(ValueError, match=REFUSED) as error:
        pipe({"audio": clip(200), "question": "Who?"}, answer_from="audio", max_new_tokens=8)
    seconds = float(re.search(r"([\d.]+) s of audio fit", str(error.value))[1])
    request = {"audio": clip(200), "question": "Who?"}
    assert pipe(request, answer_from="audio", max_new_tokens=8, truncate_to_seconds=seconds)[0]["answer"]
    with pytest.raises(ValueError, match=REFUSED):
        pipe(request, answer_from="audio", max_new_tokens=8, truncate_to_seconds=seconds + 0.1)


def test_an_answer_without_a_limit_ends_where_the_context_does(pipe, monkeypatch):
    warnings = []
    monkeypatch.setattr(generation_defaults.logger, "warning", warnings.append)
    answers = pipe({"audio": clip(20), "question": "Who?"}, answer_from="audio", eos_token_id=None)
    assert len(answers) == 1
    (warning,) = warnings
    assert re.search(rf"at most \d\d tokens, not 256: the request takes \d\d of the {LIMIT} tokens", warning)


@pytest.mark.parametrize("answer_from", ["audio", "transcript"])
def test_a_long_question_is_refused_at_once(pipe, answer_from):
    started = time.process_time()
    for request in ({"question": "why " * 25_000}, {"audio": clip(20), "question": "why " * 25_000}):
        with pytest.raises(ValueError, match=REFUSED):
            pipe(request, answer_from=answer_from)
    assert time.process_time() - started < 5  # both; without the check it was more than 20


def test_transcripts(pipe, monkeypatch):
    """Recordings of any length are written down; what is too long is the text before them, or the transcript in a chat."""
    tokenizer = pipe.processor.tokenizer
    (transcript,) = pipe.model.transcribe(**inputs_of(pipe, "<|audio|>", clip(4 * LIMIT)), tokenizer=tokenizer)
    assert len(transcript.token_ids) > 0
    with pytest.raises(
        ValueError, match=rf"text before the recording takes 90 tokens.* takes {LIMIT}: shorten the text"
    ):
        pipe.model.transcribe(**inputs_of(pipe, "a" * 90 + "<|audio|>", clip(20)), tokenizer=tokenizer)
    with pytest.raises(ValueError, match=rf"The transcript, of \d+ tokens, does not fit into the chat: .*{REFUSED}"):
        parts = [{"type": "audio", "audio": clip(30)}] * 8
        pipe([{"role": "user", "content": parts}], answer_from="transcript")
