"""The student that ships with the package, on its real base: what it answers as it listens is what it answers to whole recordings."""

import json
from pathlib import Path

import numpy as np
import pytest

from tools.real_models import real_model_folder
from transformers_aura import AuraForSpeechQA, AuraProcessor, build_conversation, load_audio, packaged_students


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("aura-smollm2-135m" not in packaged_students(), reason="no student comes with this checkout"),
]

SPEECH = Path(__file__).parents[1] / "fixtures" / "speech"
ROWS = [json.loads(line) for line in (SPEECH / "manifest.jsonl").read_text().splitlines()]
QUESTION = "What was ordered? Answer in JSON."
GENERATION = {"max_new_tokens": 24, "do_sample": False}


@pytest.fixture(scope="module")
def student():
    try:
        real_model_folder("smollm2-135m-instruct")
    except FileNotFoundError as error:
        pytest.skip(str(error))
    name = "aura-smollm2-135m"
    return AuraForSpeechQA.from_pretrained(name), AuraProcessor.from_pretrained(name)


def test_orders_are_answered_as_whole_recordings_are(student):
    model, processor = student
    stream = model.stream(processor)
    recordings = [load_audio(str(SPEECH / row["audio"])) for row in ROWS[:2]]
    recordings.append(np.concatenate(recordings))
    for row, recording in zip([*ROWS[:2], None], recordings, strict=True):
        for start in range(0, len(recording), 1000):
            stream.feed(recording[start : start + 1000])
        if row is not None:
            said = set(row["transcript"].lower().split())
            assert len(set(stream.captions().split()) & said) >= len(said) / 2
        audio = {"array": recording, "sampling_rate": 16_000}
        inputs = processor.apply_chat_template(
            build_conversation(audio, QUESTION),
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            add_generation_prompt=True,
        )
        expected = model.generate(**inputs, **GENERATION)[0, inputs["input_ids"].shape[1] :].tolist()
        answer = stream.answer(QUESTION, **GENERATION)
        assert answer.token_ids == expected
        assert answer.heard
        stream.reset()


def test_a_microphone_that_is_always_on_hears_each_order(student):
    model, processor = student
    stream = model.stream(processor, pause_seconds=0.8)
    noise = np.random.default_rng(0).normal(scale=1e-3, size=32_000).astype(np.float32)
    answers = []
    for row in ROWS[:2]:
        recording = np.concatenate([noise, load_audio(str(SPEECH / row["audio"])), noise])
        for start in range(0, len(recording), 1600):
            stream.feed(recording[start : start + 1600])
            if stream.speech_ended:
                answers.append(stream.answer(QUESTION, **GENERATION))
    assert len(answers) >= 2
    assert all(answer.text.startswith("{") for answer in answers)
