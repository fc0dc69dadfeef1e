"""The bytes of a file, a pipe or an open file, within limits."""

import contextlib
import os
import selectors
import stat
from pathlib import Path
from typing import Protocol, runtime_checkable

from ..audio_errors import AudioLoadingError
from ..audio_limits import AudioLimits


_CHUNK_BYTES = 2**20


@runtime_checkable
class SupportsRead(Protocol):
    """An open binary file, or anything else with `read() -> bytes`."""

    def read(self, size: int = -1, /) -> bytes: ...


def read_path(path: Path, description: str, limits: AudioLimits) -> bytes:
    """The bytes of a regular file or a named pipe.

    Raises:
        AudioLoadingError: no such file, a folder, a device or a socket, more than the limit, or a pipe that nobody writes to.
    """
    try:
        path = path.expanduser()
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise AudioLoadingError(f"{description} is a folder, not an audio file.")
        if stat.S_ISFIFO(status.st_mode):
            return _read_pipe(path, description, limits)
        if not stat.S_ISREG(status.st_mode):
            raise AudioLoadingError(f"{description} is a device or a socket, not an audio file.")
        limits.check_bytes(status.st_size, limits.max_file_bytes, description)
        with open(path, "rb") as file:
            return file.read(status.st_size)
    except AudioLoadingError:
        raise
    except FileNotFoundError:
        raise AudioLoadingError(
            f"There is no audio file {description} (looked from '{os.getcwd()}'). Check the path."
        ) from None
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: `~name` of nobody
        reason = (
            getattr(error, "strerror", None) or error
        )  # the error's own text repeats the name, however long that is
        raise AudioLoadingError(f"The audio file {description} cannot be read: {reason}.") from error


def read_open_file(file: SupportsRead, description: str, limits: AudioLimits) -> bytes:
    """The bytes of an open file from its start on (of a stream that cannot be rewound: from where it is).

    Raises:
        AudioLoadingError: a file opened in text mode or closed, one that cannot be read, or more than the limit.
    """
    data = bytearray()
    try:
        with contextlib.suppress(AttributeError, OSError):
            file.seek(0)  # type: ignore[attr-defined]  # it may stand at its end, where it was written or read before
        while chunk := file.read(_CHUNK_BYTES):
            if not isinstance(chunk, (bytes, bytearray, memoryview)):
                raise AudioLoadingError(f"{description} does not read as bytes: open the file in binary mode ('rb').")
            data += chunk
            limits.check_bytes(len(data), limits.max_stream_bytes, description)
    except AudioLoadingError:
        raise
    except (OSError, ValueError, TypeError) as error:
        raise AudioLoadingError(f"{description} cannot be read: {error}.") from error
    return bytes(data)


def _read_pipe(path: Path, description: str, limits: AudioLimits) -> bytes:
    data = bytearray()
    pipe = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # without the flag, this would wait for a writer
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_READ)
            while selector.select(limits.timeout_seconds):
                try:
                    chunk = os.read(pipe, _CHUNK_BYTES)
                except BlockingIOError:  # woken for nothing
                    continue
                if not chunk:
                    return bytes(data)
                data += chunk
                limits.check_bytes(len(data), limits.max_stream_bytes, description)
    finally:
        os.close(pipe)
    raise AudioLoadingError(
        f"Nothing was written into the pipe {description} for {limits.timeout_seconds:g} s ({len(data)} bytes were there). "
        "Start its writer first, or pass a larger `timeout_seconds` to `load_audio`."
    )
