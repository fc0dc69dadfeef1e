"""The commands of docs/tutorials/from_recordings_to_endpoint.md, in order, on tiny models; the server at its end answers `curl` as the student does."""

import contextlib
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.test_main import run
from tests.serving.support import free_port, input_audio, recording, serving
from tests.support.fake_hub import FakeHub
from tests.support.published import save_tiny_whisper
from tests.support.tiny_models import save_tiny_language_model
from transformers_aura.evaluation.systems import interface


pytest.importorskip("fastapi", reason="the extra `serving` is not installed (`make test-serving` installs it)")

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "tutorials" / "from_recordings_to_endpoint.md"
INSTALL, *BLOCKS = re.findall(r"```bash\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)

SMALLER = {"num_train_epochs: 40": "max_steps: 2", '"max_tokens": 40': '"max_tokens": 4'}
"""What takes minutes on real models, and as good as none here."""


@pytest.fixture
def reader(fake_hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with six recordings, and a Hub that has the LLM and the teacher, small."""
    fake_hub.add_folder("HuggingFaceTB/SmolLM2-135M-Instruct", save_tiny_language_model(tmp_path / "llm", "llama"))
    fake_hub.add_folder("openai/whisper-tiny.en", save_tiny_whisper(tmp_path / "whisper"))
    monkeypatch.setenv("AURA_CACHE", str(tmp_path / "no-cache"))
    for task in interface.MAX_NEW_TOKENS:
        monkeypatch.setitem(interface.MAX_NEW_TOKENS, task, 4)
    folder = tmp_path / "home"
    (folder / "recordings").mkdir(parents=True)
    for number in range(1, 7):
        (folder / "recordings" / f"{number}.wav").write_bytes(recording(0.4 + number / 10, seed=number))
    monkeypatch.chdir(folder)
    return folder


def test_every_command_runs(reader: Path, capsys: pytest.CaptureFixture[str]) -> None:
    port = free_port()
    changes = {**SMALLER, "8000": str(port)}
    said = {}
    with contextlib.ExitStack() as servers:
        for block in BLOCKS:
            script = re.sub("|".join(map(re.escape, changes)), lambda found: changes[found[0]], block)
            if script.startswith("aura serve"):
                command = [sys.executable, "-m", "transformers_aura.cli.main", *shlex.split(script)[1:]]
                url = f"http://127.0.0.1:{port}"
                server = servers.enter_context(serving(command, url, reader / "orders"))
            elif script.startswith("aura"):
                for line in script.splitlines():
                    arguments = shlex.split(line)[1:]
                    shorter = ("--max-new-tokens", "4") if arguments[0] == "ask" else ()
                    code, said[arguments[0]], err = run(capsys, *arguments, *shorter)
                    assert code == 0, f"{line}\n{err}"
            else:
                done = subprocess.run(["bash", "-euc", script], capture_output=True, text=True, check=False)
                assert done.returncode == 0, f"{script}\n{done.stderr}"
                if "/v1/" in script:
                    said[script.split("/v1/")[1].split()[0]] = done.stdout
    audio = (reader / "recordings" / "5.wav").read_bytes()
    (choice,) = json.loads(said["chat/completions"])["choices"]
    assert choice["message"]["content"] == server.expected_answer(
        [{"role": "user", "content": [input_audio(audio)]}], 4
    )
    assert set(json.loads(said["audio/transcriptions"])) == {"text"}
    assert "gold" in said["evaluate"]
    assert (reader / "merged" / "model.safetensors").is_file()


def test_the_extras_exist() -> None:
    (extras,) = re.findall(r"^pip install '\.\[(.*)\]'$", INSTALL, flags=re.MULTILINE)
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert all(f"\n{extra} = [" in project for extra in extras.split(","))
