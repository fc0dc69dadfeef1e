import subprocess
import sys
from pathlib import Path

import pytest

import transformers_aura
from transformers_aura.folder_lock import FolderInUseError, lock_folder


HOLD = """
import sys, time
sys.path.insert(0, sys.argv[2])  # the module alone: importing the package takes seconds
from folder_lock import lock_folder
with lock_folder(sys.argv[1], "a training"):
    print("locked", flush=True)
    time.sleep(60)
"""


@pytest.mark.fault("disk")
def test_a_folder_has_one_holder_who_is_named_and_a_killed_one_holds_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "out"
    command = [sys.executable, "-c", HOLD, folder, Path(transformers_aura.__file__).parent]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "locked\n"
        with (
            pytest.raises(FolderInUseError, match=rf"out is in use: a training \(process {other.pid} on "),
            lock_folder(folder, "an evaluation"),
        ):
            pass
        other.kill()
    with lock_folder(folder, "an evaluation"):
        pass


def test_a_lock_is_for_one_in_the_same_process_too_and_leaves_an_empty_file(tmp_path: Path) -> None:
    with lock_folder(tmp_path, "a training"):
        link = tmp_path.parent / f"{tmp_path.name}-link"
        link.symlink_to(tmp_path)
        with pytest.raises(FolderInUseError, match="a training"), lock_folder(link, "a training"):
            pass
        link.unlink()
    with pytest.raises(ZeroDivisionError), lock_folder(tmp_path, "a training"):
        raise ZeroDivisionError
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {".aura-lock": ""}


@pytest.mark.fault("disk")
def test_a_holder_who_left_no_readable_name_still_holds(tmp_path: Path) -> None:
    with lock_folder(tmp_path, "a training"):
        (tmp_path / ".aura-lock.json").write_text("{")
        with (
            pytest.raises(FolderInUseError, match="another process writes there"),
            lock_folder(tmp_path, "a training"),
        ):
            pass
