"""`aura listen`, with a file that is played and with a microphone that is none."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from tests.cli.test_main import run
from tests.support.tiny_models import babble, quiet, tiny_transcriber
from transformers_aura.cli import listen


SOUND = np.concatenate([quiet(0.5)["array"], babble(2.0)["array"], quiet(1.2)["array"], babble(2.0, 1)["array"]])


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("student")
    tiny_transcriber(folder)
    return folder / "student"


def check_two_turns(out: str) -> None:
    """Captions of a turn, its answer, and so again."""
    lines = out.splitlines()
    assert [number for number, line in enumerate(lines) if line.startswith("> ") and len(line) > 10] == [0, 2]


def test_a_file_is_played(
    student: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "talk.wav"
    soundfile.write(file, SOUND, 16_000)
    waited: list[float] = []
    monkeypatch.setattr(listen.played, "__defaults__", (waited.append,))
    arguments = ("--file", str(file), "--pause", "0.5", "--max-new-tokens", "3", "--system", "Be brief.")
    code, out, err = run(capsys, "listen", str(student), "What?", *arguments)
    assert code == 0, err
    assert "Listening" in err
    check_two_turns(out)
    assert waited


def test_a_microphone(student: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    class Microphone:
        def __init__(self, callback, blocksize, **settings) -> None:
            assert settings == {"samplerate": 16_000, "channels": 1, "dtype": "float32", "device": 3}
            for start in range(0, len(SOUND), blocksize):
                callback(SOUND[start : start + blocksize, None], blocksize, None, None)
            callback(quiet(1.0)["array"][:, None], 16_000, None, None)

        def __enter__(self) -> None:
            pass

        def __exit__(self, *error: object) -> None:
            pass

    class Ending(listen.queue.Queue):
        def get(self):
            if self.empty():
                raise KeyboardInterrupt
            return super().get()

    monkeypatch.setitem(sys.modules, "sounddevice", SimpleNamespace(InputStream=Microphone))
    monkeypatch.setattr(listen.queue, "Queue", Ending)
    arguments = ("--pause", "0.5", "--max-new-tokens", "3", "--input-device", "3")
    code, out, err = run(capsys, "listen", str(student), *arguments)
    assert code == 0, err
    assert out.startswith("> ")


def test_without_sounddevice_the_error_says_how_to_install_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    code, _, err = run(capsys, "listen", "anything")
    assert code == 1
    assert "transformers-aura[microphone]" in err
    assert "--file" in err
