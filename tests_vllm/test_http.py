"""vLLM's server, asked as people ask it: by the official client of OpenAI and by curl."""

import base64
import functools
import io
import json
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import openai
import pytest
import soundfile

from benchmarks.recordings import ORDERS
from tests_vllm.answers import from_transformers
from tests_vllm.server import Server
from transformers_aura import load_audio


RECORDINGS = sorted(ORDERS.glob("*.flac"))
QUESTION = "What was ordered?"
NUM_TOKENS = 10


@pytest.fixture(scope="module")
def client(tiny_server: Server) -> openai.OpenAI:
    return openai.OpenAI(base_url=tiny_server.url, api_key="none", max_retries=0, timeout=120)


@pytest.fixture(scope="module")
def expected(tiny_server: Server) -> list[list[int]]:
    """Tokens of what the student answers in transformers, recording by recording."""
    clips = [load_audio(recording) for recording in RECORDINGS]
    return from_transformers(tiny_server.student, clips, QUESTION, NUM_TOKENS)


def input_audio(recording: Path) -> dict[str, Any]:
    """A part of a message, as OpenAI's API takes it: as a wav file."""
    file = io.BytesIO()
    soundfile.write(file, *soundfile.read(recording, dtype="int16"), format="WAV")
    return {"type": "input_audio", "input_audio": {"data": as_base64(file.getvalue()), "format": "wav"}}


def as_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def request(part: dict[str, Any]) -> dict[str, Any]:
    content = [part, {"type": "text", "text": QUESTION}]
    messages = [{"role": "user", "content": content}]
    return {"model": "student", "messages": messages, "temperature": 0, "max_tokens": NUM_TOKENS}


OF_VLLM = {"min_tokens": NUM_TOKENS, "return_token_ids": True}
"""Fields of a request that OpenAI's API does not have."""


def ask(client: openai.OpenAI, part: dict[str, Any]) -> list[int]:
    answer = client.chat.completions.create(**request(part), extra_body=OF_VLLM)
    return answer.choices[0].model_extra["token_ids"]


def test_concurrent_requests_with_input_audio(client: openai.OpenAI, expected: list[list[int]]) -> None:
    with ThreadPoolExecutor(len(RECORDINGS)) as threads:
        answers = list(threads.map(lambda recording: ask(client, input_audio(recording)), RECORDINGS))
    assert answers == expected


@pytest.fixture
def address() -> Iterator[str]:
    """The folder of recordings behind a web server on loopback."""
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(ORDERS))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_audio_url(client: openai.OpenAI, expected: list[list[int]], address: str) -> None:
    data = as_base64(RECORDINGS[0].read_bytes())
    for url in (f"{address}/{RECORDINGS[0].name}", f"data:audio/flac;base64,{data}"):
        assert ask(client, {"type": "audio_url", "audio_url": {"url": url}}) == expected[0]


def test_streamed(client: openai.OpenAI, expected: list[list[int]]) -> None:
    settings = request(input_audio(RECORDINGS[1]))
    with client.chat.completions.create(**settings, extra_body=OF_VLLM, stream=True) as stream:
        events = [event.choices[0] for event in stream]
    tokens = [token for event in events for token in event.model_extra.get("token_ids") or ()]
    assert tokens == expected[1]
    assert len([event for event in events if event.delta.content]) > 1


def test_curl(tiny_server: Server, expected: list[list[int]], tmp_path: Path) -> None:
    (tmp_path / "request.json").write_text(json.dumps(request(input_audio(RECORDINGS[2])) | OF_VLLM))
    command = ["curl", "-sS", f"{tiny_server.url}/chat/completions", "-H", "Content-Type: application/json"]
    run = subprocess.run([*command, "-d", f"@{tmp_path / 'request.json'}"], check=True, capture_output=True, text=True)
    assert json.loads(run.stdout)["choices"][0]["token_ids"] == expected[2]


def test_transcriptions(client: openai.OpenAI) -> None:
    with RECORDINGS[0].open("rb") as file:
        transcription = client.audio.transcriptions.create(model="student", file=file, temperature=0)
    assert transcription.text


def test_several_recordings_in_one_message_and_none(client: openai.OpenAI) -> None:
    content = [input_audio(recording) for recording in RECORDINGS[:2]]
    for messages in ([{"role": "user", "content": content}], [{"role": "user", "content": "the"}]):
        answer = client.chat.completions.create(model="student", messages=messages, max_tokens=2)
        assert answer.usage is not None
        assert answer.usage.completion_tokens > 0


def test_what_is_no_recording_is_the_clients_error(client: openai.OpenAI, expected: list[list[int]]) -> None:
    with pytest.raises(openai.BadRequestError):
        ask(client, {"type": "input_audio", "input_audio": {"data": as_base64(b"no sound"), "format": "wav"}})
    assert ask(client, input_audio(RECORDINGS[0])) == expected[0]  # the server lives on
