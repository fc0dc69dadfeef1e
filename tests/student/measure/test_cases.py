"""The case sets, from small folders of the same make."""

import json

import numpy as np
import pytest
import soundfile

from student.measure import cases
from student.measure.cases import SNR_DB, VALIDATION_CLIPS, noise_cases, order_cases, reading_cases
from student.noise import TRAINING_SECONDS
from student.reserved import is_validation_clip
from student.texts.orders import ORDER_QUESTION
from tests.support.tiny import tone


@pytest.fixture
def barista(tmp_path, monkeypatch):
    """Three recordings, two of them for validation, and noise."""
    for name in ("a", "b", "c"):
        soundfile.write(tmp_path / f"{name}.flac", tone(0.5), 16000)
    rows = [{"audio": f"{name}.flac", "slots": {"coffeeDrink": name}} for name in ("a", "b", "c")]
    (tmp_path / "manifest.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    noise = np.random.default_rng(0).normal(scale=0.05, size=(TRAINING_SECONDS + 2) * 16000)
    soundfile.write(tmp_path / "kitchen.flac", noise, 16000)
    (tmp_path / "validation.txt").write_text("a.flac\nc.flac\n")
    monkeypatch.setattr(cases, "VALIDATION_CLIPS", tmp_path / "validation.txt")
    return tmp_path


def test_no_validation_clip_is_trained_on():
    names = VALIDATION_CLIPS.read_text().split()
    assert len(names) == len(set(names)) == 50
    assert all(map(is_validation_clip, names))


def test_orders_are_the_validation_recordings(barista):
    found = order_cases(barista)
    assert [(case.name, case.truth) for case in found] == [
        ("a.flac", {"coffeeDrink": "a"}),
        ("c.flac", {"coffeeDrink": "c"}),
    ]
    assert {(case.kind, case.question, case.group) for case in found} == {("order", ORDER_QUESTION, "clean")}
    assert [len(case.load()) for case in found] == [8000, 8000]
    assert found[0].load().dtype == np.float32
    assert len(order_cases(barista, limit=1)) == 1


def test_noise_at_every_ratio_the_same_again(barista):
    found = noise_cases(barista)
    assert len(found) == 2 * len(SNR_DB)
    assert {case.group for case in found} == {f"{snr_db} dB" for snr_db in SNR_DB}
    assert {case.source for case in found} == {"a.flac", "c.flac"}
    assert len({case.load().tobytes() for case in found}) == len(found)
    for case, again in zip(found, noise_cases(barista), strict=True):
        np.testing.assert_array_equal(case.load(), again.load())
    assert not np.array_equal(found[0].load(), noise_cases(barista, seed=1)[0].load())


def test_absent_recordings_are_said_and_left_out(tmp_path, capsys):
    assert order_cases(tmp_path) == []
    assert noise_cases(tmp_path) == []
    assert reading_cases(tmp_path) == []
    said = capsys.readouterr().out
    for sentence in ("No recorded orders", "No noisy orders", "No read librivox", "No read cards"):
        assert sentence in said


def test_reading(tmp_path):
    (tmp_path / "cards").mkdir()
    soundfile.write(tmp_path / "cards" / "001.wav", tone(0.25), 16000)
    (tmp_path / "cards" / "cards.transcription").write_text("<s> ten of clubs  </s> (001)\n")
    (case,) = reading_cases(tmp_path)
    assert (case.name, case.truth, case.kind, case.seconds) == ("cards/001", "ten of clubs", "transcript", 0.25)
    (tmp_path / "cards" / "cards.transcription").write_text("ten of clubs\n")
    with pytest.raises(ValueError, match=r"Not a line of a Sphinx transcription.*'ten of clubs'"):
        reading_cases(tmp_path)
