"""The commands of docs/offline_batches.md run, in order, on a tiny student; the example that it shows is the file."""

import json
import re
import shlex
from pathlib import Path

import pytest
import soundfile

from tests.cli.test_main import run
from tests.support.tiny_models import babble, tiny_transcriber
from transformers_aura import package_data


DOCS = Path(__file__).parents[3] / "docs"
PAGE = (DOCS / "offline_batches.md").read_text(encoding="utf-8")


def test_the_example_is_the_file() -> None:
    (shown,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    assert shown == (DOCS / "examples" / "ray_batches.py").read_text(encoding="utf-8")


def test_every_command_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_transcriber(tmp_path)
    monkeypatch.setattr(package_data, "packaged_students", lambda: {"aura-smollm2-135m": tmp_path / "student"})
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate(("a", "deep/b", "c")):
        file = tmp_path / "calls" / f"{name}.wav"
        file.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(file, babble(0.5, seed)["array"], 16_000)
    (tmp_path / "rows.jsonl").write_text(json.dumps({"audio": "calls/a.wav", "question": "Who?"}) + "\n")
    lines = [line for block in re.findall(r"```bash\n(.*?)```", PAGE, flags=re.DOTALL) for line in block.splitlines()]
    commands = [shlex.split(line)[1:] for line in lines if line.startswith("aura ")]
    assert len(commands) == 5
    for command in commands:
        code, _, err = run(capsys, *command, *(("--max-new-tokens", "4") if command[0] == "ask" else ()))
        assert code == 0, err
    assert len((tmp_path / "answers.jsonl").read_text().splitlines()) == 3
    assert {file.name for file in (tmp_path / "captions").iterdir()} == {"a.srt", "b.srt", "c.srt"}
    assert len((tmp_path / "transcripts-1.jsonl").read_text().splitlines()) == 1
