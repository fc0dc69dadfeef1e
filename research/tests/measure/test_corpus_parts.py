"""Word errors on what was trained on beside those on what was not."""

import io

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
import soundfile

from aura_research.measure import corpus_parts
from tests.support.tiny import tiny_processor, tone
from tests.support.tiny_models import save_tiny_language_model, tiny_student
from transformers_aura import AuraConfig
from transformers_aura.evaluation.results import Results
from transformers_aura.evaluation.systems import interface


def write_shard(path, transcripts):
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = []
    for number, transcript in enumerate(transcripts):
        content = io.BytesIO()
        soundfile.write(content, tone(0.4), 16000, format="FLAC")
        audio = {"bytes": content.getvalue(), "path": f"{path.stem}-{number:03d}.flac"}
        rows.append({"audio": audio, "transcript": transcript, "seconds": 0.4})
    parquet.write_table(pa.Table.from_pylist(rows), path)


@pytest.fixture
def corpus(tmp_path):
    for engine in ("flite", "pico"):
        write_shard(tmp_path / "corpus" / "law" / f"train-{engine}-000.parquet", [f"{engine} {n}" for n in range(6)])
        write_shard(tmp_path / "corpus" / "law" / f"validation-{engine}-000.parquet", [f"{engine} kept"])
    return tmp_path / "corpus"


def test_clips_come_from_every_engine(corpus, tmp_path, capsys):
    found = corpus_parts.corpus_part(corpus, "law", "train", 4, tmp_path / "clips").items
    assert [(item.accepted[0], item.groups["engine"]) for item in found] == [
        ("flite 0", "flite"), ("flite 3", "flite"), ("pico 0", "pico"), ("pico 3", "pico"),
    ]  # fmt: skip
    assert soundfile.info(found[0].audio).duration == pytest.approx(0.4)
    assert corpus_parts.corpus_part(corpus, "everyday", "train", 4, tmp_path / "clips") is None
    assert "No train clips of everyday" in capsys.readouterr().out


def test_clips_of_one_engine_are_joined_to_long_recordings(corpus, tmp_path):
    found = corpus_parts.corpus_part(corpus, "law", "train", 12, tmp_path / "clips", joined_seconds=2.0).items
    assert [(item.text, item.groups["engine"]) for item in found] == [
        ("flite 0 flite 1 flite 2", "flite"), ("flite 3 flite 4 flite 5", "flite"),
        ("pico 0 pico 1 pico 2", "pico"), ("pico 3 pico 4 pico 5", "pico"),
    ]  # fmt: skip
    assert len({item.name for item in found}) == 4
    for item in found:
        assert item.accepted == (item.text,)
        assert soundfile.info(item.audio).duration == pytest.approx(2.7) == item.seconds


def test_the_command_compares_training_with_validation(corpus, tmp_path, monkeypatch, capsys):
    base = save_tiny_language_model(tmp_path / "base")
    student = tmp_path / "student"
    tiny_student(base).save_pretrained(student)
    tiny_processor().save_pretrained(student)
    monkeypatch.setattr(corpus_parts, "real_model_folder", lambda name: base)
    monkeypatch.setitem(interface.MAX_NEW_TOKENS, "transcript", 4)
    command = ["corpus_parts", str(student), str(corpus), "--parts", "law", "--out", str(tmp_path / "out")]
    monkeypatch.setattr("sys.argv", command)
    assert corpus_parts.main() == 0
    numbers = {f.benchmark: f.num_items for f in Results.load(tmp_path / "out").select(scorer="wer", group="all")}
    assert numbers == {"law-train": 12, "law-validation": 2}
    assert "law-validation" in capsys.readouterr().out

    other = [
        "--splits",
        "validation",
        "--tokens-per-block",
        "2",
        "clip",
        "--decoding",
        "beam_size=4",
        "word_bonus=0.5",
    ]
    monkeypatch.setattr("sys.argv", [*command[:5], *other, "--out", str(tmp_path / "blocks")])
    assert corpus_parts.main() == 0
    assert {f.system for f in Results.load(tmp_path / "blocks").figures} == {
        "aura", "aura-2", "aura-clip", "aura-beam_size-4", "aura-word_bonus-0.5",
    }  # fmt: skip
    measured = {
        folder.name: AuraConfig.from_pretrained(folder) for folder in (tmp_path / "blocks" / "students").iterdir()
    }
    settings = {
        name: (config.audio_config.tokens_per_block, config.decoding_config) for name, config in measured.items()
    }
    own = AuraConfig.from_pretrained(student)
    assert settings == {
        "student-2": (2, own.decoding_config),
        "student-clip": (None, own.decoding_config),
        "student-beam_size-4": (own.audio_config.tokens_per_block, {"beam_size": 4}),
        "student-word_bonus-0.5": (own.audio_config.tokens_per_block, {"word_bonus": 0.5}),
    }
    assert (tmp_path / "blocks" / "students" / "student-2" / "model.safetensors").read_bytes() == (
        student / "model.safetensors"
    ).read_bytes()

    monkeypatch.setattr("sys.argv", [*command[:2], str(tmp_path / "nothing"), *command[3:]])
    assert corpus_parts.main() == 1
    assert "python -m aura_research.corpus" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "wrong", "said"),
    [
        ("--tokens-per-block", "0", "above 0, or clip"),
        ("--tokens-per-block", "whole", "above 0, or clip"),
        ("--decoding", "beams=4", "has no setting 'beams'"),
        ("--decoding", "beam_size", "NAME=NUMBER"),
        ("--decoding", "beam_size=0", "must be 1 or more"),
    ],
)
def test_settings_that_cannot_be_are_refused(option, wrong, said, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["corpus_parts", "student", "corpus", option, wrong])
    with pytest.raises(SystemExit):
        corpus_parts.main()
    assert said in capsys.readouterr().err
