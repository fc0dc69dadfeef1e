"""One writer a folder: a lock of the operating system, which ends with the process that holds it, however that ends."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout


LOCK_FILE = ".aura-lock"
HOLDER_FILE = ".aura-lock.json"


class FolderInUseError(RuntimeError):
    """Somebody else writes to the folder. The message says who, since when, and what to do."""


@contextmanager
def lock_folder(folder: str | os.PathLike, what: str) -> Iterator[None]:
    """
    Hold a folder while the body runs, so that nobody else who asks for it gets it: no other process, nor this one again.

    An empty file stays behind; of a process that was killed also its name. Neither is a lock.

    Args:
        folder (`str` or `PathLike`): made if needed.
        what (`str`): who holds it, for the others' error: `"a training"`.

    Raises:
        FolderInUseError: somebody holds it.
        OSError: the folder cannot be made or written to.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK_FILE)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise FolderInUseError(
            f"{folder} is in use: {_holder(folder)} writes there. Wait until it ends, stop it, or choose another folder."
        ) from None
    holder = folder / HOLDER_FILE
    try:
        started = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
        with suppress(OSError):  # on a full disk the lock holds all the same
            holder.write_text(
                json.dumps({"what": what, "process": os.getpid(), "host": socket.gethostname(), "since": started}),
                "utf-8",
            )
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def _holder(folder: Path) -> str:
    try:
        found = json.loads((folder / HOLDER_FILE).read_text("utf-8"))
        return f"{found['what']} (process {found['process']} on {found['host']}, since {found['since']})"
    except (OSError, ValueError, KeyError, TypeError):  # it is just being written, or removed
        return "another process"
