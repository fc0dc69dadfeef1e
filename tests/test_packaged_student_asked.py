"""The student that ships with the package, on its real base: asked about recordings that no training had, and in text, where it answers as its base does."""

import json
import re
from pathlib import Path

import jiwer
import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, pipeline

from tools.real_models import real_model_folder
from transformers_aura import build_conversation, load_audio, packaged_student, packaged_students
from transformers_aura.pipelines.audio_question_answering import NOTHING_HEARD


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("aura-smollm2-135m" not in packaged_students(), reason="no student comes with this checkout"),
]

SPEECH = Path(__file__).parent / "fixtures" / "speech"
ROWS = [json.loads(line) for line in (SPEECH / "manifest.jsonl").read_text().splitlines()]
ORDER_QUESTION = "What was ordered? Answer in JSON."
# Orders of 27 with every slot right: what the packaged student must not fall below.
ORDERS_RIGHT = 25
# Word errors of a long recording that it must stay below. As a whole, eight of ten words were wrong.
LONG_RECORDING_ERRORS = 0.3
SAMPLING_RATE = 16000


@pytest.fixture(scope="module")
def base() -> Path:
    try:
        return real_model_folder("smollm2-135m-instruct")
    except FileNotFoundError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def answerer(base):
    """By its name alone: the base is the copy that `make real-models` left, found without a hub."""
    return pipeline("audio-question-answering", model=packaged_student("aura-smollm2-135m"))


def write_down(answerer, audio, **settings):
    """The transcript of a recording."""
    inputs = answerer.processor.apply_chat_template(
        build_conversation(audio), tokenize=True, return_dict=True, return_tensors="pt", add_generation_prompt=True
    ).to(dtype=answerer.model.dtype)
    return answerer.model.transcribe(**inputs, tokenizer=answerer.processor.tokenizer, **settings)[0]


def test_orders_of_real_people_become_json(answerer):
    requests = [{"audio": str(SPEECH / row["audio"]), "question": ORDER_QUESTION} for row in ROWS]
    answers = [
        result[0]["answer"] for result in answerer(requests, batch_size=9, max_new_tokens=60, answer_from="audio")
    ]
    right = 0
    for answer, row in zip(answers, ROWS, strict=True):
        try:
            right += json.loads(answer).items() >= row["slots"].items()
        except (json.JSONDecodeError, AttributeError):
            continue
    assert right >= ORDERS_RIGHT, answers


def test_a_transcript_holds_the_words_and_when_they_were_said(answerer):
    recording = str(SPEECH / ROWS[0]["audio"])
    transcript = write_down(answerer, recording)
    assert transcript.heard
    assert len(set(transcript.text.lower().split()) & set(ROWS[0]["transcript"].split())) >= 3
    times = [time for word in transcript.words for time in (word.start_seconds, word.end_seconds)]
    assert times == sorted(times)
    assert times[-1] <= len(load_audio(recording)) / SAMPLING_RATE


def test_no_sentence_of_a_long_recording_is_lost(answerer):
    """Nine orders by as many people, one after the other: more than half a minute, where no training clip lasted a quarter of one."""
    rows = ROWS[::3]
    samples = np.concatenate([np.pad(load_audio(str(SPEECH / row["audio"])), (0, SAMPLING_RATE // 2)) for row in rows])
    assert len(samples) > 30 * SAMPLING_RATE
    transcript = write_down(answerer, {"array": samples, "sampling_rate": SAMPLING_RATE}).text.lower()
    spoken = " ".join(row["transcript"] for row in rows)
    spelled = transcript.translate(str.maketrans("", "", ",.?!"))
    assert jiwer.wer(spoken, spelled) < LONG_RECORDING_ERRORS, transcript


def test_any_question_is_answered_as_the_llm_answers_it_about_the_transcript(answerer):
    recording, question = str(SPEECH / ROWS[0]["audio"]), "What did the caller order?"
    (heard,) = answerer({"audio": recording, "question": question}, max_new_tokens=20)
    assert heard["transcript"] == write_down(answerer, recording).text
    assert heard["heard"] is True
    (read,) = answerer({"question": f"{heard['transcript']}\n{question}"}, max_new_tokens=20)
    assert heard["answer"] == read["answer"] != heard["transcript"]
    (directly,) = answerer({"audio": recording, "question": ORDER_QUESTION}, max_new_tokens=60, answer_from="audio")
    assert isinstance(json.loads(directly["answer"]), dict)


def test_silence_is_no_question(answerer):
    silence = {
        "array": np.random.default_rng(0).normal(scale=1e-3, size=2 * SAMPLING_RATE),
        "sampling_rate": SAMPLING_RATE,
    }
    assert answerer(silence) == [{"answer": NOTHING_HEARD, "heard": False, "transcript": ""}]
    assert write_down(answerer, silence).text == ""


@torch.no_grad()
def test_decoding_that_looks_up_the_prompt_gives_the_same_answer(answerer, base):
    recording = {"audio": str(SPEECH / ROWS[0]["audio"]), "question": ORDER_QUESTION}
    greedy = {"max_new_tokens": 60, "do_sample": False, "answer_from": "audio"}
    assistant = AutoModelForCausalLM.from_pretrained(base, dtype=answerer.model.dtype)
    expected = answerer(recording, **greedy)
    assert answerer(recording, **greedy, prompt_lookup_num_tokens=4) == expected
    assert answerer(recording, **greedy, assistant_model=assistant) == expected
    assert answerer(recording, **greedy, encoder_repetition_penalty=1.01)[0]["answer"].startswith("{")


@torch.no_grad()
def test_text_is_the_base_llm_bit_for_bit(answerer, base):
    student = answerer.model
    llm = AutoModelForCausalLM.from_pretrained(base, dtype=student.dtype)
    inputs = answerer.processor.tokenizer(
        ["What is the capital of France?", "Two and two"], return_tensors="pt", padding=True
    )
    assert torch.equal(student(**inputs).logits, llm(**inputs).logits)


def test_what_its_card_says_it_hears_wrong_is_what_it_writes_down(answerer):
    card = (packaged_student("aura-smollm2-135m") / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\S+\.flac)` \| .* \| (.*) \|$", card, flags=re.MULTILINE)
    assert len(rows) >= 4
    for recording, shown in rows:
        assert write_down(answerer, load_audio(Path(__file__).parents[1] / recording)).text == shown, recording
