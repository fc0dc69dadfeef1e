"""The asking demo: what it prints, what it writes into a card, and what it says without a student."""

import sys
from pathlib import Path

import pytest

from benchmarks import first_token
from benchmarks.results import Table
from demo import ask_student
from tests.support.published import save_tiny_whisper
from tests.support.tiny_models import tiny_transcriber
from transformers_aura import package_data
from transformers_aura.hub import TrainingSummary, save_model_card


def test_without_a_student_it_points_to_the_training_demo(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(package_data, "package_data_folder", lambda name: tmp_path)
    monkeypatch.setattr(sys, "argv", ["ask_student.py"])
    monkeypatch.chdir(tmp_path)
    assert ask_student.main() == 1
    assert "make demo-train" in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore::transformers_aura.processing.audio_loading.SilentAudioWarning")
def test_a_tiny_student_goes_through_all_parts(tmp_path, monkeypatch, capsys):
    tiny_transcriber(tmp_path, decoding_config={"beam_size": 4, "num_rescored": 2}, answer_from="transcript")
    save_model_card(tmp_path / "student")
    folders = {ask_student.BASE_MODEL: tmp_path / "base", ask_student.WHISPER: save_tiny_whisper(tmp_path / "whisper")}
    monkeypatch.setattr(ask_student, "make_real_model", folders.__getitem__)
    all_rows = ask_student.rows_of
    monkeypatch.setattr(ask_student, "rows_of", lambda folder: all_rows(folder)[:5])
    times = Table("Times", "s", "recording", first_token.CASCADE)
    for case, cascade, directly in (("a", 0.3, 0.1), ("b", 0.5, 0.2)):
        times.add(case, {first_token.CASCADE: [cascade], first_token.DIRECTLY: [directly]})
    monkeypatch.setattr(first_token, "measure_clips", lambda systems, clips, rounds: times)
    monkeypatch.setattr(
        sys,
        "argv",
        [
            "ask_student.py",
            "--student",
            str(tmp_path / "student"),
            "--write-card",
            "--picture",
            str(tmp_path / "times.png"),
        ],
    )
    assert ask_student.main() == 0
    printed = capsys.readouterr().out
    for said in (
        "What is the powerhouse",  # asked
        "make me a medium triple shot espresso with soy milk",  # said
        "0 of 5 = 0% (0% to 43%)",
        "0.100 to 0.200",  # the student's times
        "0.40 s",  # beside its bar
        "Three things to try",
    ):
        assert said in printed, printed
    assert (tmp_path / "times.png").read_bytes().startswith(b"\x89PNG")
    results = TrainingSummary.load(tmp_path / "student").results
    assert [(result.num_examples, result.value) for result in results] == [(5, 0.0), (5, 0.0)]


def test_what_it_ends_with_are_commands_of_aura_and_files_of_the_checkout():
    from transformers_aura.cli.main import app

    commands = {command.name or command.callback.__name__ for command in app.registered_commands}
    for command, _ in ask_student.to_try("aura-smollm2-135m"):
        _, name, _, *arguments = command.split()
        assert name in commands
        assert all(Path(argument).is_file() for argument in arguments if argument.endswith(".flac"))
        assert any(argument.endswith(".flac") for argument in arguments)
