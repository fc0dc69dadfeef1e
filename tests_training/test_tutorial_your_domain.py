"""The commands of docs/tutorials/your-domain.md, in order, on tiny models and a Hub that runs here."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import soundfile

from tests.cli.test_main import run
from tests.support.fake_hub import FakeHub
from tests.support.published import save_tiny_whisper
from tests.support.tiny import tone
from tests.support.tiny_models import save_tiny_language_model
from transformers_aura.evaluation.systems import interface


PAGE = Path(__file__).parents[1] / "docs" / "tutorials" / "your-domain.md"
INSTALL, *BLOCKS = re.findall(r"```bash\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)

SMALLER = {
    "max_steps: 320": "max_steps: 2",
    "eval_steps: 40": "eval_steps: 1",
    "save_steps: 40": "save_steps: 1",
    "distillation_warmup_steps: 100": "distillation_warmup_steps: 1",
    "generation_max_new_tokens: 24": "generation_max_new_tokens: 4",
}
"""What takes minutes on real models, and as good as none here."""


@pytest.fixture
def reader(fake_hub: FakeHub, may_write: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with six recordings, and a Hub that has the LLM and the teacher, small."""
    fake_hub.add_folder("HuggingFaceTB/SmolLM2-135M-Instruct", save_tiny_language_model(tmp_path / "llm", "llama"))
    fake_hub.add_folder("openai/whisper-tiny.en", save_tiny_whisper(tmp_path / "whisper"))
    monkeypatch.setenv("AURA_CACHE", str(tmp_path / "no-cache"))
    for task in interface.MAX_NEW_TOKENS:
        monkeypatch.setitem(interface.MAX_NEW_TOKENS, task, 4)
    folder = tmp_path / "home"
    (folder / "recordings").mkdir(parents=True)
    for number in range(1, 7):
        soundfile.write(folder / "recordings" / f"{number}.wav", tone(0.4 + number / 10), 16000)
    monkeypatch.chdir(folder)
    return folder


def test_every_command_runs(reader: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = []
    for block in BLOCKS:
        script = re.sub("|".join(map(re.escape, SMALLER)), lambda found: SMALLER[found[0]], block)
        if not script.startswith("aura"):
            subprocess.run(["bash", "-euc", script], check=True)
            continue
        arguments = shlex.split(script)[1:]
        shorter = ("--max-new-tokens", "4") if arguments[0] == "ask" else ()
        code, out, err = run(capsys, *arguments, *shorter)
        assert code == 0, f"{script}\n{err}"
        said.append((arguments[0], out))
    assert [command for command, _ in said] == ["distill", "distill", "evaluate", "push", "ask"]
    assert "2 people, 19:00" in said[0][1]
    assert "exact_match" in (reader / "bookings" / "training_history.jsonl").read_text()
    report = (reader / "evaluation" / "results.md").read_text()
    assert all(word in report for word in ("bookings", "gold", "shuffled"))
    assert "exact_match" in (reader / "bookings" / "README.md").read_text()


def test_what_is_made_smaller_stands_on_the_page() -> None:
    assert all(any(setting in block for block in BLOCKS) for setting in SMALLER)
    assert INSTALL == "pip install '.[train,evaluation]'\n"
