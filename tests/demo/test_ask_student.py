"""The asking demo: when an answer is right, what it prints, and what it says without a student."""

import json
import sys
from pathlib import Path

import pytest

from demo import ask_student
from demo.ask_student import names_slots, says, transcribes
from tests.support.published import publish_base, save_student, save_tiny_whisper
from transformers_aura import package_data
from transformers_aura.hub import TrainingSummary


def test_transcripts_are_compared_by_their_words():
    row = {"transcript": "I'd like a drip coffee"}
    assert transcribes("I'd like a drip coffee.", row)
    assert transcribes("i'd  LIKE a drip, coffee", row)
    assert not transcribes("I'd like a coffee", row)


def test_json_must_name_exactly_the_true_slots():
    row = {"slots": {"coffeeDrink": "latte", "size": "small"}}
    assert names_slots('{"size": "small", "coffeeDrink": "latte"}', row)
    for answer in (
        '{"size": "small"}',
        '{"size": "small", "coffeeDrink": "latte", "roast": "dark"}',
        "small latte",
        "1",
    ):
        assert not names_slots(answer, row)


def test_a_spoken_answer_must_hold_the_true_one():
    assert says("It is Paris.", {"answer": "Paris"})
    assert not says("Parisian", {"answer": "Paris"})


def test_without_a_student_it_points_to_the_training_demo(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(package_data, "package_data_folder", lambda name: tmp_path)
    monkeypatch.setattr(sys, "argv", ["ask_student.py"])
    monkeypatch.chdir(tmp_path)
    assert ask_student.main() == 1
    assert "make demo-train" in capsys.readouterr().out


@pytest.mark.slow  # answers every fixture twice
def test_a_tiny_student_is_asked_in_every_way(fake_hub, tmp_path, monkeypatch, capsys):
    publish_base(fake_hub, tmp_path / "smollm2-135m-instruct")
    save_student(tmp_path / "student")
    fake_hub.clear()
    save_tiny_whisper(tmp_path / "whisper-tiny.en")
    monkeypatch.setattr(ask_student, "make_real_model", lambda name: tmp_path / name)
    times = {"student": [0.1], "student, merged": [0.1], "Whisper tiny.en + LLM": [0.3]}
    monkeypatch.setattr(ask_student, "run", lambda *command: Path(command[-1]).write_text(json.dumps(times)))
    monkeypatch.setattr(sys, "argv", ["ask_student.py", "--student", str(tmp_path / "student"), "--write-card"])
    assert ask_student.main() == 0
    printed = capsys.readouterr().out
    for said in ("asked by voice: left out", "0 of 27 = 0% (0% to 12%)", "3.0 times as long", "heard", "truth"):
        assert said in printed, printed
    results = TrainingSummary.load(tmp_path / "student").results
    assert [result.num_examples for result in results] == [27, 27]
