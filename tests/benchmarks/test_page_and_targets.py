"""The runner, the targets and the page, on results of tiny models."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import benchmarks.__main__ as runner
from benchmarks import first_token, page, targets
from benchmarks.results import Result, Table, read_results
from tests.benchmarks.support import tiny_arguments


def result_of(threads: int, merged: list[float]) -> Result:
    table = Table("First token", "s", "seconds of audio", first_token.LIMIT)
    for case in (3, 10):
        table.add(case, {first_token.LIMIT: [1.0] * len(merged), first_token.MERGED: merged})
    machine = {"processor": "P", "instructions": "AVX2", "cores": 2, "accelerator": None, "load": 0.1}
    return Result(
        "first_token",
        "First token.",
        "python -m benchmarks first_token",
        machine=machine | {"torch": "2.13", "transformers": "5.24"},
        settings={"student": "s", "threads": threads, "dtype": "float32", "device": "cpu", "clock": "wall"},
        tables=[table],
    )


def test_targets_say_what_was_measured_what_must_be_and_whether_it_is(tmp_path):
    result_of(1, [1.0, 1.05, 1.09]).write(tmp_path)
    rows = targets.to_markdown(read_results(tmp_path)).splitlines()
    assert "| first token, direct, merged / LLM alone | 3 | 1.05 (1.02 to 1.07) | - | <= 1.1 | 1.03 | yes |" in rows
    assert "| first token, direct, merged / LLM alone | 30 | - | - | <= 1.1 | 1.03 | not measured |" in rows
    result_of(2, [1.2]).write(tmp_path)
    rows = targets.to_markdown(read_results(tmp_path)).splitlines()
    assert (
        "| first token, direct, merged / LLM alone | 3 | 1.05 (1.02 to 1.07) | 1.2 | <= 1.1 | 1.03 | **no** |" in rows
    )


def test_the_page_keeps_what_is_written_by_hand(tmp_path):
    result_of(1, [1.5]).write(tmp_path / "results")
    result_of(2, [1.2]).write(tmp_path / "results")
    text = page.PAGE.read_text(encoding="utf-8")
    written = tmp_path / "performance.md"
    written.write_text(text, encoding="utf-8")
    for _ in range(2):  # a second time it finds its marks again
        page.write([tmp_path / "results"], written)
    new = written.read_text(encoding="utf-8")
    assert new.startswith(text.partition("<!-- targets: begin -->")[0])
    assert new.index("**`s`, 1 thread, float32, cpu**") < new.index("**`s`, 2 threads, float32, cpu**")
    assert new.count("Measured by `python -m benchmarks first_token`") == 2
    assert "(performance/first_token-1t-float32-of-s-0.png)" in new
    assert [file.name for file in (tmp_path / "performance").iterdir()] == ["first_token-1t-float32-of-s-0.png"]
    written.write_text("no marks", encoding="utf-8")
    with pytest.raises(ValueError, match="targets: begin"):
        page.write([tmp_path / "results"], written)


def test_the_runner_writes_json_markdown_and_plots(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(runner, "MEASURED", tmp_path / "outputs")
    own = tiny_arguments(tmp_path, monkeypatch)
    given = ["--student", own.student, "--rounds", "2", "--lengths", "1", "2", "--results", str(tmp_path / "kept")]
    monkeypatch.setattr(sys, "argv", ["benchmarks", "features", *given])
    runner.main()
    written = json.loads((tmp_path / "kept" / f"features-1t-float32-of-{Path(own.student).name}.json").read_text())
    assert written["command"].endswith("--rounds 2 --lengths 1 2")
    assert written["settings"]["threads"] == 1
    assert {file.suffix for file in (tmp_path / "outputs").iterdir()} == {".md", ".png"}
    assert "AuraFeatureExtractor (= 1)" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["benchmarks", "nothing"])
    with pytest.raises(SystemExit, match="first_token"):
        runner.main()


def test_a_set_goes_on_behind_a_failed_benchmark_and_names_it(tmp_path, monkeypatch, capsys):
    commands = []

    def ended(line, env, check):
        commands.append((line[3:], env["OMP_NUM_THREADS"]))
        return SimpleNamespace(returncode=int("b" in line))

    monkeypatch.setattr(runner.subprocess, "run", ended)
    with pytest.raises(SystemExit, match="Failed: b --threads 2 --trainings"):
        runner.run_set(("a", "b --threads 2 --trainings 'of two words'", "c"), ["--results", str(tmp_path)])
    results = ["--results", str(tmp_path)]
    assert commands == [
        (["a", *results], "1"),
        (["b", "--threads", "2", "--trainings", "of two words", *results], "2"),
        (["c", *results], "1"),
    ]
    assert "not measured" in capsys.readouterr().out


def test_every_command_of_a_set_is_a_benchmark():
    commands = [command for commands in runner.SETS.values() for command in commands]
    assert {command.split()[0] for command in commands} <= set(runner.BENCHMARKS)
    assert {target.benchmark for target in targets.TARGETS} <= set(runner.BENCHMARKS)
