"""Files on a disk that fills up, or in a process that is interrupted, are there completely or not at all."""

import errno
import os
from pathlib import Path

import pytest
from safetensors import SafetensorError

from transformers_aura.whole_files import disk_errors_named, files_together, write_whole


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.txt").write_text("earlier")
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "old.png").touch()
    return tmp_path


def test_files_appear_together_in_the_place_of_earlier_ones(folder: Path) -> None:
    with files_together(folder) as staging:
        (staging / "a.txt").write_text("now")
        (staging / "pictures").mkdir()
        (staging / "pictures" / "new.png").touch()
        assert (folder / "a.txt").read_text() == "earlier"
    assert {str(path.relative_to(folder)) for path in folder.rglob("*")} == {"a.txt", "pictures", "pictures/new.png"}
    assert write_whole(folder / "new" / "b.txt", "café \udce9").read_bytes() == "café ".encode() + rb"\udce9"


@pytest.mark.fault("disk")
@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
        KeyboardInterrupt(),
    ],
)
def test_what_fails_leaves_everything_as_it_was(folder: Path, error: BaseException) -> None:
    expected = KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else OSError
    with pytest.raises(expected) as caught, files_together(folder) as staging:
        (staging / "a.txt").write_text("half")
        raise error
    assert {path.name for path in folder.iterdir()} == {"a.txt", "pictures"}
    assert (folder / "a.txt").read_text() == "earlier"
    if expected is OSError:
        assert str(caught.value) == f"[Errno 28] No space left on device: '{folder}'"


def test_other_errors_of_safetensors_stay_as_they_are(folder: Path) -> None:
    with pytest.raises(SafetensorError, match="header"), disk_errors_named(folder):
        raise SafetensorError("header too large")
