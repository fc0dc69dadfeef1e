"""The command, on tiny models."""

import json

import numpy as np
import pytest
import soundfile

from aura_research.measure import __main__ as command
from aura_research.measure import benchmarks
from aura_research.noise import TRAINING_SECONDS
from tests.support.tiny import tiny_processor, tone
from tests.support.tiny_models import save_tiny_language_model, tiny_student
from transformers_aura.evaluation.results import Results
from transformers_aura.evaluation.systems import AuraSystem, Transcriber, interface


def test_what_is_missing_is_said(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("AURA_CACHE", str(tmp_path))
    with pytest.raises(SystemExit):
        command.parse_arguments(["--systems", "aura"])
    assert "aura needs the student's folder" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        command.parse_arguments(["--systems", "parser"])
    assert "python tools/real_models.py --only smollm2-135m-instruct" in capsys.readouterr().err


def test_orders_clean_and_in_noise_and_a_killed_run_goes_on(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "barista"
    folder.mkdir()
    for name in ("a", "b"):
        soundfile.write(folder / f"{name}.flac", tone(0.4), 16000)
    rows = [{"audio": f"{name}.flac", "slots": {"coffeeDrink": "mocha"}} for name in ("a", "b")]
    (folder / "manifest.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    (folder / "validation.txt").write_text("a.flac\nb.flac\n")
    noise = np.random.default_rng(0).normal(scale=0.05, size=(TRAINING_SECONDS + 2) * 16000)
    soundfile.write(folder / "kitchen.flac", noise, 16000)
    monkeypatch.setattr(benchmarks, "VALIDATION_CLIPS", folder / "validation.txt")
    monkeypatch.setattr(benchmarks, "SNR_DB", (6, 12))
    monkeypatch.setitem(interface.MAX_NEW_TOKENS, "slots", 4)
    monkeypatch.setattr(Transcriber, "_generate", lambda self, waveforms: ["make me a mocha"] * len(waveforms))
    base = save_tiny_language_model(tmp_path / "base")
    student = tmp_path / "student"
    tiny_student(base).save_pretrained(student)
    tiny_processor().save_pretrained(student)

    def run(*more):
        arguments = command.parse_arguments(
            [str(student), "--out", str(tmp_path / "out"), "--cases", "orders", "noise", "--base-model", str(base),
             "--whisper", str(base), "--barista", str(folder), *more]
        )  # fmt: skip
        command.measure(arguments)
        return Results.load(tmp_path / "out")

    results = run("--systems", "aura", "parser", "--limit", "1")
    of_parser = {f.condition: f.value for f in results.select(system="parser", scorer="slots")}
    assert of_parser == {"clean": 1.0, "noise:6": 1.0, "noise:12": 1.0, "noise:all": 1.0}
    assert results.text_ability["aura"]["prompts_equal"] == results.text_ability["aura"]["prompts"]
    asked = []
    answer = AuraSystem.answer
    monkeypatch.setattr(
        AuraSystem, "answer", lambda self, requests: asked.append(len(requests)) or answer(self, requests)
    )
    results = run("--systems", "aura", "bridge", "--baselines", str(tmp_path))
    assert f"No bridge: {tmp_path / 'baseline-bridge'} is absent" in capsys.readouterr().out
    assert asked == [1, 1, 1], "the other recording, under three conditions"
    assert next(results.select(system="aura", scorer="slots", condition="noise:all")).num_items == 4
    assert (tmp_path / "out" / "results.md").is_file()
