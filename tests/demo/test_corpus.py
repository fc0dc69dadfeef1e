"""The demo's corpus, with a stand-in for the voices."""

import json

import numpy as np
import pytest
import soundfile

from demo import corpus
from demo.voices import VOICES


def speak_tone(voice, text, rate, seed):
    """A tone of a length that depends on the text, with silence around it, at the rate of 24 kHz."""
    time = np.arange(int(2400 * len(text) / rate)) / 24000
    tone = 0.3 * np.sin(2 * np.pi * 300 * time).astype(np.float32)
    return np.pad(tone, 4800), 24000


@pytest.fixture(autouse=True)
def voices(monkeypatch):
    monkeypatch.setattr(corpus, "speak", speak_tone)
    monkeypatch.setattr(corpus, "available_voices", lambda: list(VOICES))

    class InThisProcess:
        def __init__(self, *_, **__):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def map(self, function, *columns, chunksize):
            return map(function, *columns)

    monkeypatch.setattr(corpus, "ProcessPoolExecutor", InThisProcess)


def test_held_out_texts_and_voice_are_never_trained_on():
    reserved = ["get me a latte"]
    clips = corpus.plan_corpus(VOICES, 800, 60, seed=1, reserved_texts=reserved)
    train = [clip for clip in clips if clip.split == "train"]
    held_out = [clip for clip in clips if clip.split == "held_out"]
    assert (len(train), len(held_out)) == (800, 60)
    assert not {clip.transcript for clip in train} & ({clip.transcript for clip in held_out} | set(reserved))
    assert corpus.HELD_OUT_VOICE not in {clip.voice for clip in train}
    assert sum(clip.voice == corpus.HELD_OUT_VOICE for clip in held_out) == 30
    assert {clip.voice for clip in train} == {str(voice) for voice in VOICES} - {corpus.HELD_OUT_VOICE}


def test_one_voice_alone_is_enough():
    clips = corpus.plan_corpus(VOICES[:1], 5, 4)
    assert {clip.voice for clip in clips} == {"hibari heart"}


def test_clips_are_sound_and_repeatable():
    for clip in corpus.plan_corpus(VOICES, 12, 0):
        samples = corpus.make_clip(clip)
        assert samples.dtype == np.float32
        assert np.isfinite(samples).all()
        assert 0.01 < np.abs(samples).max() <= 1
        np.testing.assert_array_equal(samples, corpus.make_clip(clip))


def test_a_build_goes_on_where_it_was_and_notices_changes(tmp_path):
    corpus.build_corpus(tmp_path, 6, 2)
    rows = corpus.read_rows(tmp_path / "train.jsonl")
    assert len(rows) == 6
    assert soundfile.info(str(tmp_path / rows[0]["audio"])).samplerate == 16000
    assert json.loads(rows[0]["json_answer"])

    (tmp_path / rows[0]["audio"]).unlink()
    untouched = (tmp_path / rows[1]["audio"]).stat().st_mtime_ns
    corpus.build_corpus(tmp_path, 6, 2)
    assert (tmp_path / rows[0]["audio"]).is_file()
    assert (tmp_path / rows[1]["audio"]).stat().st_mtime_ns == untouched

    corpus.build_corpus(tmp_path, 6, 2, seed=5)
    assert corpus.read_rows(tmp_path / "train.jsonl") != rows
    assert (tmp_path / rows[1]["audio"]).stat().st_mtime_ns != untouched
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
