"""What the guide shows works: every Python block and every command, in order, on tiny models."""

import json
import re
import shlex
from pathlib import Path

import pytest
import soundfile

from tests.support.fake_hub import FakeHub
from tests.support.published import publish_student, save_student, save_tiny_whisper
from tests.support.tiny import tone
from tests.support.tiny_models import save_tiny_language_model
from transformers_aura import package_data
from transformers_aura.cli.main import main
from transformers_aura.decoding.alphabet import LATIN_ALPHABET


ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / "docs" / "guide.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(python|bash)\n(.*?)```", GUIDE, flags=re.DOTALL)


@pytest.fixture
def newcomer(fake_hub: FakeHub, may_write: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder with a few recordings, and a Hub that has everything the guide names, small."""
    publish_student(fake_hub, tmp_path / "published")
    packaged = tmp_path / "packaged"
    save_student(packaged, character_ctc_alphabet=LATIN_ALPHABET, subword_ctc_layer=2)
    monkeypatch.setattr(package_data, "packaged_students", lambda: {"aura-smollm2-135m": packaged})
    monkeypatch.setenv("AURA_CACHE", str(tmp_path / "no-cache"))
    # As deep and as wide as the recipes take them for.
    smollm2 = save_tiny_language_model(tmp_path / "smollm2", "llama", num_hidden_layers=30)
    fake_hub.add_folder("HuggingFaceTB/SmolLM2-135M-Instruct", smollm2)
    fake_hub.add_folder("openai/whisper-tiny.en", save_tiny_whisper(tmp_path / "whisper", width=384))
    fake_hub.add_folder("openai/whisper-large-v3", tmp_path / "whisper")
    fake_hub.add_folder("Qwen/Qwen2.5-7B-Instruct", save_tiny_language_model(tmp_path / "qwen", num_hidden_layers=28))
    folder = tmp_path / "home"
    folder.mkdir()
    for name in ("question.wav", "order.flac"):
        soundfile.write(folder / name, tone(0.6), 16000)
    row = {"audio": "order.flac", "transcript": "a small latte please", "answer": "one latte, small"}
    (folder / "rows.jsonl").write_text(json.dumps(row) + "\n")
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.slow
def test_every_block_runs(newcomer: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict = {}
    for language, block in BLOCKS:
        # A newcomer's 200 steps are minutes; one shows that it works.
        block = block.replace("max_steps=200", "max_steps=1")
        if language == "python":
            exec(compile(block, "guide.md", "exec"), names)
            continue
        for line in block.splitlines():
            program, *arguments = shlex.split(line, comments=True)
            if program == "aura":
                with pytest.raises(SystemExit) as stopped:
                    main(arguments)
                assert stopped.value.code == 0, f"{line}\n{capsys.readouterr().err}"
    assert (newcomer / "outputs" / "merged" / "model.safetensors").exists()
    assert (newcomer / "outputs" / "aura-smollm2-135m-quick" / "README.md").exists()
