"""The experiment with a second teacher, on tones in the place of voices."""

import pytest
import soundfile

from aura_research import second_teacher
from tests.support.tiny import tone


@pytest.fixture
def rows(tmp_path):
    made = []
    for number in range(16):
        path = tmp_path / f"{number}.flac"
        soundfile.write(path, tone(0.5, 150 + 100 * (number % 2)), 16_000)
        who, pace = ("woman", "man")[number % 2], ("slow", "fast")[number // 2 % 2]
        made.append({"audio": str(path), "transcript": "a tone", "who": who, "pace": pace, "tract": 1.0})
    return made


def test_every_arm_is_trained_and_asked(tmp_path, rows, monkeypatch):
    monkeypatch.setattr(second_teacher, "STEPS", 2)
    monkeypatch.setattr(second_teacher, "TEACHER_STEPS", 2)
    encoder = second_teacher.train_encoder(tmp_path / "encoder", rows)
    assert (tmp_path / "encoder" / "model.safetensors").is_file()
    base = second_teacher.save_base(tmp_path / "base")
    encoders = {"trained": encoder, "random": second_teacher.new_encoder(1)}
    for arm in second_teacher.ARMS:
        found = second_teacher.run(tmp_path, base, encoders, rows, {"same voices": rows[:4]}, arm, 0)
        assert {"same voices who", "same voices pace"} <= found.keys()
        assert 0 <= found["same voices who"] <= 1
        assert (found["cosine"] is None) == (arm == "without")


def test_sentences_of_training_and_test_differ():
    texts = second_teacher.short_sentences(400, seed=0)
    assert len(set(texts)) == 400
    assert texts == second_teacher.short_sentences(400, seed=0)


def test_questions_have_answers_of_a_closed_set(rows):
    asked = second_teacher.questions(rows, ("who", "pace"))
    assert len(asked) == 2 * len(rows)
    assert {row["answer"] for row in asked} == {answer for pair in second_teacher.ANSWERS.values() for answer in pair}


def test_the_table_has_each_arm_and_the_gain_of_two():
    figures = ("same voices who", "same voices pace", "other voices who", "other voices pace")
    done = [
        {"arm": arm, "seed": seed, **dict.fromkeys(figures, 0.5 + 0.1 * number)}
        for seed in (0, 1)
        for number, arm in enumerate(second_teacher.ARMS)
    ]
    lines = second_teacher.table(done).splitlines()
    assert len(lines) == 8
    assert lines[2].startswith("| without | 50 % (50, 50)")
    assert "+20 [+20, +20]" in lines[-2]
