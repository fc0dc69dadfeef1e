"""`aura ask` with vLLM answers a folder as it does with transformers."""

import json
from pathlib import Path

import pytest
import soundfile

from tests_vllm.conftest import save_student
from tests_vllm.recordings import recordings
from transformers_aura.cli.main import main


def test_a_folder(tmp_path: Path) -> None:
    student = save_student(tmp_path, "llama")
    (tmp_path / "calls").mkdir()
    for number, clip in enumerate(recordings()[:4]):
        soundfile.write(tmp_path / "calls" / f"{number}.wav", clip, 16_000, subtype="FLOAT")
    (tmp_path / "calls" / "broken.wav").write_bytes(b"RIFF")
    rows = {}
    for engine in ("transformers", "vllm"):  # in this order: vLLM changes classes of transformers in its process
        out = tmp_path / f"{engine}.jsonl"
        asked = [
            "ask",
            str(student),
            str(tmp_path / "calls"),
            "What was said?",
            "--from",
            "audio",
            "--dtype",
            "float32",
        ]
        with pytest.raises(SystemExit) as ended:
            main([*asked, "--max-new-tokens", "8", "--engine", engine, "--out", str(out)])
        assert ended.value.code == 1  # one of them failed
        found = [json.loads(line) for line in out.read_text().splitlines()]
        # vLLM leaves out half a character at the end of an answer that was cut.
        rows[engine] = {row["name"]: (row.get("answer") or row["error"]).rstrip("\ufffd") for row in found}
    assert len(rows["vllm"]) == 5
    assert rows["vllm"] == rows["transformers"]
    assert len(set(rows["vllm"].values())) > 2
