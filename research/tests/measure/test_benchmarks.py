"""What the student is measured on, from small folders of the same make."""

import json

import numpy as np
import pytest
import soundfile

from aura_research.measure import benchmarks
from aura_research.measure.benchmarks import (
    SNR_DB,
    VALIDATION_CLIPS,
    VARIED,
    order_conditions,
    orders,
    reading,
    speech_conditions,
    varied_conditions,
)
from aura_research.noise import TRAINING_SECONDS
from aura_research.recordings import order_transcripts
from aura_research.reserved import is_validation_clip
from aura_research.texts.orders import ORDER_QUESTION
from tests.support.tiny import tone
from transformers_aura.processing.audio_loading import load_audio


@pytest.fixture
def barista(tmp_path, monkeypatch):
    """Three recordings, two of them for validation, and noise."""
    for name in ("a", "b", "c"):
        soundfile.write(tmp_path / f"{name}.flac", tone(0.5), 16000)
    rows = [{"audio": f"{name}.flac", "slots": {"coffeeDrink": name}} for name in ("a", "b", "c")]
    (tmp_path / "manifest.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    noise = np.random.default_rng(0).normal(scale=0.05, size=(TRAINING_SECONDS + 2) * 16000)
    noise[: TRAINING_SECONDS * 16000] = 0.5  # what training has
    soundfile.write(tmp_path / "kitchen.flac", noise, 16000)
    (tmp_path / "validation.txt").write_text("a.flac\nc.flac\n")
    monkeypatch.setattr(benchmarks, "VALIDATION_CLIPS", tmp_path / "validation.txt")
    return tmp_path


def test_no_validation_clip_is_trained_on():
    names = VALIDATION_CLIPS.read_text().split()
    assert len(names) == len(set(names)) == 50
    assert all(map(is_validation_clip, names))


def test_what_is_said_in_the_validation_recordings_can_be_read():
    assert set(VALIDATION_CLIPS.read_text().split()) <= order_transcripts().keys()


def test_orders_are_the_validation_recordings(barista):
    found = orders(barista).items
    assert [(item.name, item.accepted) for item in found] == [
        ("a.flac", ('{"coffeeDrink": "a"}',)),
        ("c.flac", ('{"coffeeDrink": "c"}',)),
    ]
    assert {(item.task, item.question) for item in found} == {("slots", ORDER_QUESTION)}
    assert len(load_audio(found[0].audio)) == 8000
    assert len(orders(barista, limit=1).items) == 1


def test_noise_at_every_ratio_from_seconds_that_training_does_not_hear(barista):
    clean, *noisy = order_conditions(barista)
    assert str(clean) == "clean"
    assert [str(condition) for condition in noisy] == [f"noise:{snr_db}" for snr_db in SNR_DB]
    assert all(abs(condition.noise).max() < 0.4 and len(condition.noise) == 2 * 16000 for condition in noisy)


def test_other_conditions(barista):
    assert [str(condition) for condition in varied_conditions()] == list(VARIED)
    written = [str(condition) for condition in speech_conditions(barista)]
    assert written == ["clean", "noise:6", "noise:12", "noise:18", "shuffled"]


def test_absent_recordings_are_said_and_left_out(tmp_path, capsys):
    assert orders(tmp_path) is None
    assert [str(condition) for condition in order_conditions(tmp_path)] == ["clean"]
    assert reading(tmp_path) is None
    said = capsys.readouterr().out
    for sentence in ("No recorded orders", "No noisy orders", "No read librivox", "No read cards"):
        assert sentence in said


def test_reading(tmp_path):
    (tmp_path / "cards").mkdir()
    soundfile.write(tmp_path / "cards" / "001.wav", tone(0.25), 16000)
    (tmp_path / "cards" / "cards.transcription").write_text("<s> ten of clubs  </s> (001)\n")
    (item,) = reading(tmp_path).items
    assert (item.name, item.accepted, item.task, item.seconds) == ("cards/001", ("ten of clubs",), "transcript", 0.25)
    (tmp_path / "cards" / "cards.transcription").write_text("ten of clubs\n")
    with pytest.raises(ValueError, match=r"Not a line of a Sphinx transcription.*'ten of clubs'"):
        reading(tmp_path)
