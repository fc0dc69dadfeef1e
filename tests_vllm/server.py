"""vLLM's server as a process of its own on loopback, ended with the test."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


START_SECONDS = 300


@dataclass(frozen=True)
class Server:
    """A running server: where its API is, what its model is called, the student's folder, and the file with what it said."""

    url: str
    model: str
    student: Path
    log: Path


@contextmanager
def serve(student: Path, *arguments: str) -> Iterator[Server]:
    """
    The student behind vLLM's HTTP API.

    Raises:
        RuntimeError: it ended, or was not there in time; with the end of what it said.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # What `vllm serve` runs; in the CPU build, that command itself looks for a package of vLLM's own name, and fails.
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", student]
    command += ["--host", "127.0.0.1", "--port", str(port), "--served-model-name", "student"]
    log = Path(tempfile.mkdtemp(prefix="vllm-")) / "log.txt"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*map(str, command), "--enforce-eager", *arguments],
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ | {"VLLM_ENABLE_V1_MULTIPROCESSING": "1"},
            start_new_session=True,
        )
    try:
        _wait_for(f"http://127.0.0.1:{port}/health", process, log)
        yield Server(f"http://127.0.0.1:{port}/v1", "student", student, log)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


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
