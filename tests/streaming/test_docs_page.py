"""The blocks of docs/streaming.md run, in order, on a tiny student."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.cli.test_main import run
from tests.support.tiny_models import babble, quiet, tiny_transcriber
from transformers_aura import package_data


PAGE = Path(__file__).parents[2] / "docs" / "streaming.md"
BLOCKS = re.findall(r"```(python|bash)\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)


def test_every_block_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    tiny_transcriber(tmp_path)
    monkeypatch.setattr(package_data, "packaged_students", lambda: {"aura-smollm2-135m": tmp_path / "student"})
    monkeypatch.chdir(tmp_path)
    soundfile.write("question.wav", np.concatenate([babble(2.0)["array"], quiet(1.2)["array"]]), 16_000)
    names: dict = {}
    for language, block in BLOCKS:
        if language == "python":
            exec(compile(block, PAGE.name, "exec"), names)
            capsys.readouterr()
            continue
        program, *arguments = shlex.split(block)
        assert program == "aura"
        code, out, err = run(capsys, *arguments)
        assert code == 0, err
        assert out.startswith("> ")
    assert names["stream"].conversation[0] == {"role": "system", "content": "Answer in one sentence."}
    assert names["stream"].conversation[-1]["role"] == "assistant"
