"""A student behind vLLM's HTTP API, on loopback, ended with the test."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.servers import running, vllm_command


@dataclass(frozen=True)
class Server:
    """A running server: where its API is, what its model is called, and the student's folder."""

    url: str
    model: str
    student: Path


@contextmanager
def serve(student: Path, *arguments: str) -> Iterator[Server]:
    """
    The student behind vLLM's HTTP API.

    Raises:
        RuntimeError: it ended, or was not there in time; with the end of what it said.
    """
    with running(vllm_command(student, "student", *arguments), "student") as server:
        yield Server(server.url, server.model, student)
