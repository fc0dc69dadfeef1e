"""The command, on tiny models."""

import json

import pytest
import soundfile

from student.measure import __main__ as command
from student.measure import cases, systems
from student.measure.systems import Transcriber
from tests.support.tiny import tiny_processor, tone
from tests.support.tiny_models import save_tiny_language_model, tiny_student


def test_what_is_missing_is_said(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("AURA_CACHE", str(tmp_path))
    with pytest.raises(SystemExit):
        command.parse_arguments(["--systems", "aura"])
    assert "aura needs the student's folder" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        command.parse_arguments(["--systems", "parser"])
    assert "python tools/real_models.py --only smollm2-135m-instruct" in capsys.readouterr().err


def test_a_killed_run_goes_on_and_another_student_starts_anew(tmp_path, monkeypatch):
    folder = tmp_path / "barista"
    folder.mkdir()
    for name in ("a", "b"):
        soundfile.write(folder / f"{name}.flac", tone(0.4), 16000)
    rows = [{"audio": f"{name}.flac", "slots": {"coffeeDrink": "mocha"}} for name in ("a", "b")]
    (folder / "manifest.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    (folder / "validation.txt").write_text("a.flac\nb.flac\n")
    monkeypatch.setattr(cases, "VALIDATION_CLIPS", folder / "validation.txt")
    monkeypatch.setattr(systems, "MAX_NEW_TOKENS", 4)
    monkeypatch.setattr(Transcriber, "_transcribe", lambda self, recordings: ["make me a mocha"] * len(recordings))
    base = save_tiny_language_model(tmp_path / "base")
    students = []
    for seed in (0, 1):
        students.append(tmp_path / f"student{seed}")
        tiny_student(base, seed=seed).save_pretrained(students[-1])
        tiny_processor().save_pretrained(students[-1])

    def run(student, *more):
        arguments = command.parse_arguments(
            [str(student), "--out", str(tmp_path / "out"), "--cases", "orders", "--base-model", str(base),
             "--whisper", str(base), "--barista", str(folder), *more]
        )  # fmt: skip
        results = command.measure(arguments)
        return {system: [item.answer for item in scored] for (_, system), scored in results.scored.items()}, results

    first, results = run(students[0], "--systems", "aura", "parser", "--limit", "1")
    assert first["parser"] == ['{"coffeeDrink": "mocha"}']
    assert len(first["aura"]) == 1
    assert results.text_ability["prompts_equal"] == results.text_ability["prompts"]
    asked = []
    answer = systems.Student.answer
    monkeypatch.setattr(
        systems.Student, "answer", lambda self, requests: asked.append(len(requests)) or answer(self, requests)
    )
    second, _ = run(students[0], "--systems", "aura")
    assert asked == [1]
    assert second["aura"][:1] == first["aura"]
    run(students[1], "--systems", "aura")
    assert asked == [1, 2]
