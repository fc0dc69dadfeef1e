"""docs/notebooks/teach_a_domain.ipynb from its first cell to its last, in a kernel, on tiny models of a Hub on loopback."""

import json
from pathlib import Path

import nbformat
import pytest
import soundfile
from nbclient import NotebookClient
from safetensors.torch import load

from tests.support.fake_hub import WRITE_TOKEN, FakeHub
from tests.support.published import save_tiny_whisper
from tests.support.tiny import tone
from tests.support.tiny_models import save_tiny_language_model


NOTEBOOK = Path(__file__).parents[1] / "docs" / "notebooks" / "teach_a_domain.ipynb"
ROOMS = ("kitchen", "bedroom", "office", "bathroom")
SMALLER = {"MAX_STEPS = 300": "MAX_STEPS = 12", "max_new_tokens=16": "max_new_tokens=2"}


def test_it_runs_from_the_first_cell_to_the_last(
    fake_hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_hub.add_folder("HuggingFaceTB/SmolLM2-135M-Instruct", save_tiny_language_model(tmp_path / "llm", "llama"))
    fake_hub.add_folder("openai/whisper-tiny.en", save_tiny_whisper(tmp_path / "whisper"))
    monkeypatch.setenv("HF_TOKEN", WRITE_TOKEN)
    folder = tmp_path / "home" / "house"
    folder.mkdir(parents=True)
    rows = []
    for number in range(16):
        room = ROOMS[number % 4]
        soundfile.write(folder / f"{number}.wav", tone(0.4, 200.0 + 20 * number), 16000)
        rows.append({"audio": f"{number}.wav", "transcript": f"light in the {room}", "answer": f"light, {room}"})
    (folder / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    for cell in notebook.cells:
        for real, small in SMALLER.items():
            cell.source = cell.source.replace(real, small)
    client = NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder.parent)}})
    client.execute()  # raises with the cell and its traceback
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in outputs), "no plot"
    assert "light in the" in notebook.cells[-1].outputs[-1]["text"]
    published = fake_hub.files("my-name/aura-house")
    assert {"config.json", "model.safetensors", "processor_config.json", "README.md"} <= set(published)
    weights = load(published["model.safetensors"])
    assert all("lora_" in name or "embed_audio" in name for name in weights), "the LLM stays in its own repo"
