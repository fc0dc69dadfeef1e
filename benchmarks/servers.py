"""HTTP servers as processes of their own on loopback, ended with the block that uses them."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


START_SECONDS = 900


@dataclass(frozen=True)
class Server:
    """A running server: where its API is, what its model is called, and the file with what it said."""

    url: str
    model: str
    log: Path


@contextmanager
def running(command: Sequence[str | Path], model: str) -> Iterator[Server]:
    """
    A server that answers, until the end of the block.

    Args:
        command: a Python module and its arguments; `--host` and `--port` are added.
        model: what clients call its model.

    Raises:
        RuntimeError: it ended, or was not there in time; with the end of what it said.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = Path(tempfile.mkdtemp(prefix="server-")) / "log.txt"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *map(str, command), "--host", "127.0.0.1", "--port", str(port)],
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ | {"VLLM_ENABLE_V1_MULTIPROCESSING": "1"},
            start_new_session=True,
        )
    try:
        _wait_for(f"http://127.0.0.1:{port}/health", process, log)
        yield Server(f"http://127.0.0.1:{port}/v1", model, log)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def vllm_command(model: str | Path, name: str, *arguments: str) -> list[str | Path]:
    """What `vllm serve` runs; in the CPU build, that command itself looks for a package of vLLM's own name, and fails."""
    module = "vllm.entrypoints.openai.api_server"
    return [module, "--model", model, "--served-model-name", name, "--enforce-eager", *arguments]


def _wait_for(address: str, process: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    said = log.read_text(errors="replace")[-6000:]
    raise RuntimeError(f"the server did not start (exit code {process.returncode}):\n{said}")
