"""Clips of the games' data files, made here in their formats; Whisper's transcript of a real recording."""

import io
import json
import re
import struct
from pathlib import Path

import jiwer
import numpy as np
import pytest
import soundfile

from aura_research import acted_speech
from aura_research.corpus import plan_recorded
from aura_research.places import FIXTURES
from research.tests.test_rnc import packed
from tests.support.tiny import tone
from tools.real_models import real_model_folder


SPEECH = FIXTURES.parent


def mp3(seconds):
    content = io.BytesIO()
    soundfile.write(content, tone(seconds)[::2], 8000, format="MP3")
    return content.getvalue()


@pytest.fixture
def games(tmp_path, monkeypatch):
    """Three games with two clips each, as if their packages were installed."""
    monkeypatch.setattr(acted_speech, "INSTALLED", tmp_path / "scummvm")
    monkeypatch.setenv("AURA_CACHE", str(tmp_path / "cache"))
    queen, sky, drascula = (tmp_path / "scummvm" / game for game in acted_speech.GAMES)
    files = [(b"C18B_213.SB", mp3(1.0)), (b"1.RAW", b"no speech"), (b"JOE01761.SB", mp3(2.0))]
    table, offset = b"", 15 + 21 * len(files)
    for name, content in files:
        table += struct.pack(">12sBII", name, 1, offset, len(content))
        offset += len(content)
    queen.mkdir(parents=True)
    header = b"QTBLCEM10".ljust(13, b"\0") + struct.pack(">H", len(files))
    (queen / "queen.1c").write_bytes(header + table + b"".join(content for _, content in files))
    sky.mkdir(parents=True)
    silence = bytes([128]) * 4
    clips = [
        (50001, bytes(22) + silence),
        (60001, b"no speech"),
        (59000, bytes(22) + packed([[(silence, None, 0)]], silence)),
    ]
    table, content = struct.pack("<I", len(clips)), b""
    for number, data in clips:
        content += bytes(-len(content) % 16)
        far = number == 59000  # offsets may count 16 bytes
        offset = len(content) >> 4 | 0x800000 if far else len(content)
        table += (
            struct.pack("<H", number) + offset.to_bytes(3, "little") + (len(data) | far << 22).to_bytes(3, "little")
        )
        content += data
    (sky / "sky.dnr").write_bytes(table)
    (sky / "sky.dsk").write_bytes(content)
    (drascula / "en").mkdir(parents=True)
    for name in ("12", "B3"):
        (drascula / "en" / f"{name}.ALS").write_bytes(np.full(11025, 128, np.uint8).tobytes())
    return tmp_path


def test_clips_are_cut_out_of_the_data_files(games):
    acted_speech.extract_clips(games / "clips")
    found = {f"{path.parent.name}/{path.name}": soundfile.info(path) for path in (games / "clips").glob("*/*")}
    assert set(found) == {
        *("queen/C18B_213.mp3", "queen/JOE01761.mp3"),
        *("sky/50001.wav", "sky/59000.wav"),
        *("drascula/12.wav", "drascula/B3.wav"),
    }
    assert found["sky/50001.wav"].frames == found["sky/59000.wav"].frames == 4
    assert found["queen/JOE01761.mp3"].duration == pytest.approx(2.0, abs=0.2)
    assert found["drascula/12.wav"].samplerate == 11025
    assert not soundfile.read(games / "clips" / "drascula" / "12.wav")[0].any()
    (games / "clips" / "sky" / "50001.wav").unlink()
    acted_speech.extract_clips(games / "clips")
    assert not (games / "clips" / "sky" / "50001.wav").exists()  # a game whose clips are there is left alone


def test_another_file_is_refused(tmp_path):
    (tmp_path / "queen.1c").write_bytes(b"something else")
    with pytest.raises(ValueError, match="does not begin with QTBL"):
        list(acted_speech.queen_clips(tmp_path))


def test_a_missing_game_names_its_package_and_is_left_out(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(acted_speech, "INSTALLED", tmp_path)
    monkeypatch.setenv("AURA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeError, match="apt-get install drascula"):
        acted_speech.game_data("drascula")
    acted_speech.extract_clips(tmp_path / "clips")
    assert capsys.readouterr().out.count("Its actors are left out.") == len(acted_speech.GAMES)
    assert not list((tmp_path / "cache").glob("games/*"))


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("Oh yeah. Oh yeah. Oh yeah. Oh", "Oh yeah."),
        (" I'm the plumber, I'm here. I'm the plumber, I'm here. I'm", "I'm the plumber, I'm here."),
        (" How big is  Sloth Island?", "How big is Sloth Island?"),
        ("", ""),
    ],
)
def test_repetition_is_dropped(written, said):
    assert acted_speech.without_repetition(written) == said


def test_what_so_long_a_clip_may_say():
    assert acted_speech.is_plausible("How big is Sloth Island?", 2.0)
    assert not acted_speech.is_plausible("How big is Sloth Island?", 0.5)  # nobody speaks so fast
    assert not acted_speech.is_plausible("No, no.", 5.0)
    assert not acted_speech.is_plausible("Damn!", 0.8)  # one word is a guess
    assert not acted_speech.is_plausible("It is 5 o'clock now", 2.0)  # how is the digit said?


def test_the_corpus_keeps_texts_aside(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("AURA_CACHE", str(tmp_path))
    assert plan_recorded("acted", seed=0) == []
    assert "No acted speech" in capsys.readouterr().out
    folder = acted_speech.acted_folder()
    folder.mkdir()
    (folder / acted_speech.TRANSCRIPTS_FILE_NAME).write_text(
        json.dumps({f"sky/{n}.wav": f"line {n}" for n in range(100)})
    )
    train, validation = plan_recorded("acted", seed=0), plan_recorded("acted", seed=0, validation=True)
    assert len(train) == 2 * (100 - len(validation)) > 0
    assert {clip.transcript for clip in train}.isdisjoint(clip.transcript for clip in validation)
    assert {clip.tract for clip in validation} == {1.0}
    assert len({Path(clip.recording).name for clip in [*train, *validation]}) == 100


@pytest.mark.slow
def test_whisper_writes_down_what_real_people_say(tmp_path):
    try:
        whisper = real_model_folder("whisper-tiny.en")
    except FileNotFoundError as error:
        pytest.skip(str(error))
    clips = [json.loads(line) for line in (SPEECH / "manifest.jsonl").read_text().splitlines()][:8]
    (tmp_path / "sky").mkdir()
    for clip in clips:
        samples, sampling_rate = soundfile.read(SPEECH / clip["audio"])
        soundfile.write(tmp_path / "sky" / f"{Path(clip['audio']).stem}.wav", samples, sampling_rate)
    soundfile.write(tmp_path / "sky" / "silence.wav", np.zeros(32000), 16000)
    found = acted_speech.transcribe_clips(tmp_path, whisper)
    assert len(found) >= 5
    assert "sky/silence.wav" not in found
    spoken = {f"sky/{Path(clip['audio']).stem}.wav": clip["transcript"] for clip in clips}
    words = {name: re.sub(r"[^a-z' ]", "", text.lower()) for name, text in found.items()}
    assert jiwer.wer([spoken[name].lower() for name in words], list(words.values())) < 0.4
