"""The commands of docs/tutorials/your-language.md, in order, on tiny models and a miniature of a Common Voice download."""

import json
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
from transformers_aura import AuraForSpeechQA, AuraProcessor
from transformers_aura.decoding.alphabet import alphabet_of
from transformers_aura.evaluation.systems import interface


PAGE = Path(__file__).parents[1] / "docs" / "tutorials" / "your-language.md"
INSTALL, RECIPE, *BLOCKS = re.findall(r"```bash\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)

SMALLER = {
    "num_train_epochs: 3": "max_steps: 2, use_cpu: true",
    "per_device_train_batch_size: 16": "per_device_train_batch_size: 2",
    "conv_blocks: 4": "conv_blocks: 2",
    "bfloat16": "float32",
    "pad_to_seconds: 10": "pad_to_seconds: 2",
}
"""What fits tiny models, and takes seconds."""

SENTENCES = {
    "train": ["Schöne Grüße aus Köln.", "Fünf Äpfel, bitte!", "Das Fenster ist größer.", "Über den Fluß."],
    "dev": ["Zwölf Bären."],
    "test": ["Wo ist die Straße?", "Es hört auf."],
}
COLUMNS = ["client_id", "path", "sentence_id", "sentence", "sentence_domain", "up_votes", "down_votes", "age", "gender", "accents", "variant", "locale", "segment"]  # fmt: skip


@pytest.fixture
def reader(fake_hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the download, and a Hub that has the LLM and the teacher, small."""
    fake_hub.add_folder("Qwen/Qwen2.5-1.5B-Instruct", save_tiny_language_model(tmp_path / "llm"))
    fake_hub.add_folder("openai/whisper-large-v3", save_tiny_whisper(tmp_path / "whisper"))
    for task in interface.MAX_NEW_TOKENS:
        monkeypatch.setitem(interface.MAX_NEW_TOKENS, task, 4)
    folder = tmp_path / "home" / "cv-corpus-22.0" / "de"
    (folder / "clips").mkdir(parents=True)
    number = 17298952
    for split, sentences in SENTENCES.items():
        lines = ["\t".join(COLUMNS)]
        for sentence in sentences:
            name = f"common_voice_de_{number}.mp3"
            soundfile.write(folder / "clips" / name, tone(1.6, 100 + number % 400), 16000)
            row = {"client_id": "ab12", "path": name, "sentence": sentence, "locale": "de", "up_votes": "2"}
            lines.append("\t".join(row.get(column, "") for column in COLUMNS))
            number += 1
        (folder / f"{split}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    monkeypatch.chdir(folder.parents[1])
    return folder


def test_every_command_runs(reader: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said: dict[str, str] = {}
    for block in (RECIPE, *BLOCKS):
        script = re.sub("|".join(map(re.escape, SMALLER)), lambda found: SMALLER[found[0]], block)
        if script.startswith("cat"):
            subprocess.run(["bash", "-euc", script], check=True)
            continue
        for line in script.splitlines():
            if line.startswith("cut"):
                subprocess.run(["bash", "-euc", line], check=True)
                continue
            arguments = shlex.split(line)[1:]
            code, out, err = run(capsys, *arguments)
            assert code == 0, f"{line}\n{err}"
            said["dry-run" if "--dry-run" in arguments else arguments[0]] = out + err

    alphabet = alphabet_of(SENTENCES["train"])
    assert set("äöüß") < set(alphabet)
    for shown in (said["dry-run"], said["distill"]):
        assert f"{alphabet!r} spells 4 of 4 transcripts" in shown
    assert "Schreibe die Aufnahme auf." in said["dry-run"]
    assert "wer" in said["evaluate"]
    results = json.loads(Path("evaluation/results.json").read_text(encoding="utf-8"))
    assert results["scorers"]["wer"]["normalizer"] == "Whisper basic", "the language is that of the student's folder"

    student = AuraForSpeechQA.from_pretrained("outputs/aura-german")
    assert student.config.character_ctc_alphabet == alphabet
    assert student.text_statistics is not None
    processor = AuraProcessor.from_pretrained("outputs/aura-german")
    assert processor.transcription_instruction == "Schreibe die Aufnahme auf."


def test_the_recipe_is_short() -> None:
    assert len(RECIPE.strip().splitlines()) - 2 <= 20
