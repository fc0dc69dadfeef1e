"""The experiment with a second teacher, on tones in the place of voices."""

import io
import subprocess

import numpy as np
import pytest
import soundfile

from aura_research import second_teacher
from aura_research.second_teacher import ARMS, QUESTIONS
from tests.support.tiny import tone


@pytest.fixture
def voices(monkeypatch):
    """espeak-ng says a tone, higher for the second voice,."""

    def say(command, **_):
        file = io.BytesIO()
        soundfile.write(file, tone(0.6, 250 if "high" in command else 150), 16_000, format="WAV")
        return subprocess.CompletedProcess(command, 0, file.getvalue())

    monkeypatch.setattr(subprocess, "run", say)


@pytest.fixture
def rows(tmp_path, voices):
    return second_teacher.clips(tmp_path, "training", ("low", "high"), ["A tone."] * 32, seed=0)


def test_every_combination_of_answers_is_as_frequent(rows):
    assert len({tuple(row[kind] for kind in QUESTIONS) for row in rows}) == 32
    assert all(row[kind] in QUESTIONS[kind][1] for row in rows for kind in QUESTIONS)


def test_loudness_and_noise_are_in_the_samples(rows):
    peaks = {"soft": [], "loud": []}
    for row in rows:
        samples, answers = second_teacher.waveform_and_answers(row)
        if row["noise"] == "clean":
            peaks[row["loudness"]].append(20 * np.log10(np.abs(samples).max()))
        assert [QUESTIONS[kind][1][answer] for kind, answer in zip(QUESTIONS, answers, strict=True)] == [
            row[kind] for kind in QUESTIONS
        ]
    assert max(peaks["soft"]) <= -20
    assert min(peaks["loud"]) >= -10


def test_features_keep_loudness_above_their_target_level_alone(tmp_path, rows):
    samples = tone(0.6, 200)
    samples[:3200] *= 0.003  # what sounds all the time would count as noise
    soundfile.write(tmp_path / "loud.flac", samples, 16_000)
    loud = next(row for row in rows if row["loudness"] == "loud" and row["noise"] == "clean")
    lines = second_teacher.kept_loudness([{**loud, "audio": str(tmp_path / "loud.flac")}]).splitlines()[2:]
    levels = [int(line.split("|")[2].split()[0]) for line in lines]
    assert levels[0] > -20
    assert levels[-2:] == [-25, -25]


def test_every_arm_is_trained_and_asked(tmp_path, rows, monkeypatch):
    monkeypatch.setattr(second_teacher, "STEPS", 2)
    monkeypatch.setattr(second_teacher, "TEACHER_STEPS", 2)
    encoder = second_teacher.train_encoder(tmp_path / "encoder", rows)
    assert (tmp_path / "encoder" / "model.safetensors").is_file()
    probed = second_teacher.probe(encoder, rows, {"same voices": rows[:4]})
    assert set(probed) == {f"same voices {kind}" for kind in QUESTIONS}
    base = second_teacher.save_base(tmp_path / "base")
    encoders = {"trained": encoder, "random": second_teacher.new_encoder(1)}
    for arm in ARMS:
        found = second_teacher.run(tmp_path, base, encoders, rows, {"same voices": rows[:4]}, arm, 1.0, 0)
        assert all(0 <= found[f"same voices {kind}"] <= 1 for kind in QUESTIONS)
        assert (found["cosine"] is None) == (arm == "without")


def test_sentences_of_training_and_test_differ():
    texts = second_teacher.short_sentences(400, seed=0)
    assert len(set(texts)) == 400
    assert texts == second_teacher.short_sentences(400, seed=0)


def test_the_table_has_each_arm_and_the_gain_of_two():
    figures = [f"{voices} voices {kind}" for voices in ("same", "other") for kind in QUESTIONS]
    done = [
        {"arm": arm, "seed": seed, **dict.fromkeys(figures, 0.5 + 0.1 * number)}
        for seed in (0, 1)
        for number, arm in enumerate(ARMS)
    ]
    lines = second_teacher.table(done, {"trained": dict.fromkeys(figures, 0.9)}).splitlines()
    assert len(lines) == 2 + len(figures)
    assert lines[2].startswith("| same voices: who | 50 (50, 50) | 60 (60, 60) | 70 (70, 70) | +20 [+20, +20] |")
    assert lines[2].endswith("| 90 |")
