"""The worked examples of CONTRIBUTING.md work: a new objective is trained and logged, a new benchmark is read."""

import json
import re
from pathlib import Path

import pytest
import soundfile

from tests.distillation.support import tiny_rows, tiny_teacher
from tests.support.tiny import tone
from tests.support.tiny_models import tiny_student
from transformers_aura import AuraProcessor
from transformers_aura.evaluation import benchmarks


PAGE = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")
OBJECTIVE, BENCHMARK = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)


def test_the_objective_is_trained_and_logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    student = tiny_student(tmp_path / "base")
    names = {
        "student": student,
        "teacher": tiny_teacher(),
        "rows": tiny_rows(),
        "processor": AuraProcessor.from_language_model_pretrained(
            tmp_path / "base", frames_per_token=student.config.audio_config.frames_per_token
        ),
    }
    exec(compile(OBJECTIVE, "CONTRIBUTING.md", "exec"), names)
    logged = names["trainer"].state.log_history[-1]  # type: ignore[attr-defined]
    history = (tmp_path / "outputs" / "mine" / "training_history.jsonl").read_text()
    assert "train_loss" in logged
    assert names["trainer"].objectives["embedding_size"].has_learnt, history  # type: ignore[attr-defined]


def test_the_benchmark_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(benchmarks, "BENCHMARKS", dict(benchmarks.BENCHMARKS))
    copy = tmp_path / "my" / "copy"
    copy.mkdir(parents=True)
    soundfile.write(copy / "a.wav", tone(0.3, 300.0), 16000)
    (copy / "manifest.jsonl").write_text(json.dumps({"audio": "a.wav", "transcription": "my balance, please"}) + "\n")
    exec(compile(BENCHMARK, "CONTRIBUTING.md", "exec"), {})
    assert capsys.readouterr().out == "1\n"
