"""Servers of tiny students in processes of their own, and requests to them."""

from __future__ import annotations

import base64
import contextlib
import http.client
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import soundfile

from tests.support.tiny_models import babble, tiny_transcriber
from transformers_aura import AuraForSpeechQA, AuraProcessor
from transformers_aura.hub import merge_to_folder


KEY = "a-long-random-key"
START_SECONDS = 120


def save_students(folder: Path) -> dict[str, Path]:
    """A compact student with heads, and the same merged (without them), each in a folder."""
    tiny_transcriber(folder)
    return {"compact": folder / "student", "merged": merge_to_folder(folder / "student", folder / "merged")}


def recording(seconds: float = 1.0, seed: int = 0, file_format: str = "WAV") -> bytes:
    """An audio file."""
    sound = babble(seconds, seed)
    file = io.BytesIO()
    soundfile.write(file, sound["array"], sound["sampling_rate"], format=file_format)
    return file.getvalue()


def input_audio(audio: bytes) -> dict[str, Any]:
    """A part of a message as OpenAI's interface has it."""
    return {"type": "input_audio", "input_audio": {"data": base64.b64encode(audio).decode(), "format": "wav"}}


def spoken_chat(audio: bytes, question: str = "the cat") -> list[dict[str, Any]]:
    """One message with a recording and a written question."""
    return [{"role": "user", "content": [input_audio(audio), {"type": "text", "text": question}]}]


@dataclass
class Server:
    """
    Attributes:
        url: `http://127.0.0.1:<port>`.
        key: what it wants to be sent.
        student: folder that it serves.
    """

    url: str
    key: str | None
    student: Path

    def client(self, **settings: Any) -> Any:
        """The official client."""
        from openai import OpenAI

        return OpenAI(**{"base_url": f"{self.url}/v1", "api_key": self.key or "none", "max_retries": 0, **settings})

    def send(
        self, method: str, path: str, body: bytes = b"", content_type: str = "application/json", **headers: str
    ) -> tuple[int, Any]:
        """Status and content of an answer, as JSON where it is that."""
        connection = self.connection()
        with contextlib.closing(connection):
            sent = {"Content-Type": content_type, "Authorization": f"Bearer {self.key}", **headers}
            connection.request(method, path, body, sent)
            answer = connection.getresponse()
            content = answer.read()
        return answer.status, json.loads(content) if content[:1] in (b"{", b"[") else content.decode()

    def connection(self) -> http.client.HTTPConnection:
        place = urlsplit(self.url)
        return http.client.HTTPConnection(str(place.hostname), place.port, timeout=60)

    def expected_answer(self, messages: list[dict[str, Any]], max_new_tokens: int) -> str:
        """What stock `generate` answers, greedily, with the same weights."""
        student = AuraForSpeechQA.from_pretrained(self.student)
        processor = AuraProcessor.from_pretrained(self.student)
        inputs = processor.apply_chat_template(
            messages, tokenize=True, return_dict=True, return_tensors="pt", add_generation_prompt=True
        )
        answer = student.generate(**inputs, max_new_tokens=max_new_tokens, do_sample=False)
        return processor.decode(answer[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)


@contextlib.contextmanager
def serving(command: list[str], url: str, student: Path, key: str | None = None) -> Iterator[Server]:
    """A server that runs, until the end of the block."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    server = Server(url, key, student)
    try:
        _wait_until_it_answers(server, process)
        yield server
        assert process.poll() is None, "The server did not live on."
    finally:
        process.terminate()
        process.communicate(timeout=30)


def aura_serve(student: Path, port: int, key: str | None = KEY) -> contextlib.AbstractContextManager[Server]:
    """`aura serve` with the engine of transformers."""
    command = [sys.executable, "-m", "transformers_aura.cli.main", "serve", str(student), "--engine", "transformers"]
    command += ["--port", str(port), *(["--api-key", key] if key else [])]
    return serving(command, f"http://127.0.0.1:{port}", student, key)


def transformers_serve(student: Path, port: int) -> contextlib.AbstractContextManager[Server]:
    """`transformers serve`, in a process where nobody imports this package."""
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", str(student)]
    command += ["--trust-remote-code", "--host", "127.0.0.1", "--port", str(port)]
    return serving(command, f"http://127.0.0.1:{port}", student)


def free_port() -> int:
    """A port that nobody listens on."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as found:
        return found.getsockname()[1]


def _wait_until_it_answers(server: Server, process: subprocess.Popen) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"The server ended: {process.communicate()[0]}")
        try:
            if server.send("GET", "/health")[0] == 200:
                return
        except OSError:
            time.sleep(0.2)
    raise TimeoutError(f"No answer from {server.url}")
