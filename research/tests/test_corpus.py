"""The corpus with a stand-in for the voices: what is planned, what is never in it, and that a build goes on where it was."""

import io
import json
from concurrent.futures import Future
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from aura_research import corpus
from aura_research.recordings import order_transcripts
from aura_research.reserved import check_clip, is_validation_clip
from aura_research.texts.orders import OrderGrammar
from aura_research.voices import KOKORO_TEST_VOICES
from tests.support.tiny import tone


datasets = pytest.importorskip("datasets")
PARTS = ("orders", "questions", "sentences", "everyday")


@pytest.fixture
def small(monkeypatch, tmp_path):
    """A corpus of a few clips a part, spoken by tones in this process."""

    class InThisProcess:
        def __init__(self, *_, **__):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def submit(self, function, *arguments):
            future = Future()
            future.set_result(function(*arguments))
            return future

    monkeypatch.setenv("AURA_CACHE", str(tmp_path / "no-cache"))
    monkeypatch.setattr(corpus, "ProcessPoolExecutor", InThisProcess)
    monkeypatch.setattr(corpus, "missing_engines", list)
    monkeypatch.setattr(corpus, "speak", lambda voice, text, rate, seed, pitch: (tone(0.02 * len(text) / rate), 16000))
    monkeypatch.setattr(corpus, "NUM_CLIPS", {part: {"hibari": 6, "kokoro": 3} for part in PARTS})
    monkeypatch.setattr(corpus, "NUM_VALIDATION_CLIPS", dict.fromkeys(PARTS, 8))


@pytest.mark.parametrize("part", [*PARTS, "law", "names", "named_questions", "common_words", "scrambled"])
def test_validation_texts_are_never_trained_on(part):
    train = {clip.transcript for clip in corpus.plan_spoken(part, "hibari", range(400), seed=0)}
    validation = {clip.transcript for clip in corpus.plan_spoken(part, "hibari", range(40), seed=0, validation=True)}
    assert len(train) > 250
    assert not train & validation


def test_a_plan_follows_from_its_seed():
    first, again, other = (corpus.plan_spoken("orders", "kokoro", range(20), seed) for seed in (0, 0, 1))
    assert first == again
    assert first != other
    assert corpus.plan_spoken("orders", "kokoro", range(5, 10), 0) == first[5:10]


def test_answers_are_what_was_said():
    grammar = OrderGrammar()
    for clip in corpus.plan_spoken("orders", "flite", range(50), seed=3):
        assert grammar.parse(clip.transcript) == json.loads(clip.answer)
    for clip in corpus.plan_spoken("questions", "flite", range(50), seed=3):
        assert clip.answer
        assert clip.question is None  # the recording is the question


def test_what_is_kept_aside_stops_the_build():
    clip = corpus.plan_spoken("orders", "kokoro", range(1), seed=0)[0]
    check_clip(clip)
    spoken_by = replace(clip, speaker=f"kokoro af_bella:0.5+{KOKORO_TEST_VOICES[0]}:0.5")
    with pytest.raises(ValueError, match="is a test voice"):
        check_clip(spoken_by)
    with pytest.raises(ValueError, match="kept aside for testing"):
        check_clip(replace(clip, transcript="What is the supreme law of the land?"))
    aside = next(name for name in order_transcripts() if is_validation_clip(name))
    with pytest.raises(ValueError, match="kept aside for validation"):
        check_clip(replace(clip, part="real_orders", recording=f"somewhere/{aside}"))


def test_no_training_voice_is_a_test_voice():
    speakers = {clip.speaker for clip in corpus.plan_spoken("questions", "kokoro", range(500), seed=0)}
    assert not [speaker for speaker in speakers for voice in KOKORO_TEST_VOICES if voice in speaker]
    assert len(speakers) > 200  # most are blends


def test_a_build_goes_on_where_it_was(small, tmp_path, capsys):
    nothing_shared = tmp_path / "no-shared-data"
    corpus.build_corpus(tmp_path, shared_data=nothing_shared)
    assert "left out" in capsys.readouterr().out
    shards = sorted(tmp_path.glob("*/*.parquet"))
    assert {shard.parent.name for shard in shards} == set(PARTS)
    rows = datasets.load_dataset(
        "parquet", data_files=str(tmp_path / "orders" / "train-hibari-000.parquet"), split="train"
    )
    assert len(rows) == 6
    row = rows.cast_column("audio", datasets.Audio(decode=False))[0]
    samples, sampling_rate = soundfile.read(io.BytesIO(row["audio"]["bytes"]))
    assert sampling_rate == 16000
    assert row["seconds"] == pytest.approx(len(samples) / 16000)
    assert 0.01 < np.abs(samples).max() <= 1

    shards[0].unlink()
    untouched = shards[1].stat().st_mtime_ns
    corpus.build_corpus(tmp_path, shared_data=nothing_shared)
    assert shards[0].is_file()
    assert shards[1].stat().st_mtime_ns == untouched
    assert not list(tmp_path.glob("*/.*"))


def test_missing_voices_are_named(monkeypatch, tmp_path):
    monkeypatch.setattr(corpus, "missing_engines", lambda: ["flite: apt-get install flite"])
    with pytest.raises(RuntimeError, match="apt-get install flite"):
        corpus.build_corpus(tmp_path)
