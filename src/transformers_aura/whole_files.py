"""Files that are there completely or not at all, also when the disk fills up or the process is killed while they are written."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError


def write_whole(path: Path, content: str | bytes) -> Path:
    """
    Write a file (text as UTF-8, what that lacks as its escape), in the place of an earlier one.

    Raises:
        OSError: it cannot be written; it names the file, and the earlier one is still there.
    """
    with files_together(path.parent) as staging:
        (staging / path.name).write_bytes(
            content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
        )
    return path


@contextmanager
def files_together(folder: Path) -> Iterator[Path]:
    """
    Several files and folders that appear in `folder` once all of them are written, each in the place of an earlier one of its name.

    Args:
        folder (`Path`): made if needed.

    Yields:
        `Path`: the folder to write them into.

    Raises:
        OSError: they cannot be written; it names a file or `folder`, where everything is as it was.
    """
    folder.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".partial-", dir=folder))
    try:
        with disk_errors_named(folder):
            yield staging
            for written in sorted(staging.iterdir()):
                target = folder / written.name
                if target.is_dir():
                    shutil.rmtree(target)
                os.replace(written, target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


@contextmanager
def disk_errors_named(path: Path) -> Iterator[None]:
    """
    Writes to `path`.

    Raises:
        OSError: what the operating system objected to, also where safetensors wrote; it names a file, or `path`.
    """
    try:
        yield
    except SafetensorError as error:
        code = re.search(r"os error (\d+)", str(error))
        if code is None:
            raise
        raise OSError(int(code[1]), os.strerror(int(code[1])), os.fspath(path)) from error
    except OSError as error:
        error.filename = error.filename or os.fspath(path)  # a write that fails does not say where
        raise
