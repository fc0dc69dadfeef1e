"""vLLM's server, asked as people ask it: by the official client of OpenAI and by curl."""

import base64
import contextlib
import functools
import http.client
import io
import json
import socket
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

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


NO_RECORDING = {"type": "input_audio", "input_audio": {"data": as_base64(b"no sound"), "format": "wav"}}
CUT_OFF = input_audio(RECORDINGS[0])
CUT_OFF["input_audio"]["data"] = CUT_OFF["input_audio"]["data"][:40]
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


BAD = {
    "no JSON": b"{",
    "200 MB that are no JSON": b"0" * 200_000_000,
    "no messages": b'{"model": "student"}',
    "messages of text": json.dumps(request(NO_RECORDING) | {"messages": "hello"}).encode(),
    "no recording": json.dumps(request(NO_RECORDING)).encode(),
    "a recording that is cut off": json.dumps(request(CUT_OFF)).encode(),
    "no base64": json.dumps(request({"type": "input_audio", "input_audio": {"data": "?!", "format": "wav"}})).encode(),
    "a limit in words": json.dumps(request(NO_RECORDING) | {"max_tokens": "many"}).encode(),
    "another model": json.dumps(request(NO_RECORDING) | {"model": "gpt-4o"}).encode(),
}


NO_ERROR_OF_THE_CLIENT = {"a recording that is cut off"}
"""What vLLM 0.32 answers with status 500, since it does not expect the error of its decoder."""


def test_bad_requests_while_others_ask(tiny_server: Server, client: openai.OpenAI, expected: list[list[int]]) -> None:
    with ThreadPoolExecutor(len(RECORDINGS)) as threads:
        answers = [threads.submit(ask, client, input_audio(recording)) for recording in RECORDINGS]
        statuses = {name: send(tiny_server, body) for name, body in BAD.items()}
        go_away(tiny_server)
        assert all(400 <= statuses[name] < 500 for name in BAD.keys() - NO_ERROR_OF_THE_CLIENT), statuses
        assert [answer.result() for answer in answers] == expected
    assert ask(client, input_audio(RECORDINGS[0])) == expected[0]  # the server lives on


def send(server: Server, body: bytes) -> int:
    """The status of what is answered to a body."""
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=120)
    with contextlib.closing(connection):
        connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
        return connection.getresponse().status


def go_away(server: Server) -> None:
    """Clients that close the connection in the middle of their request, and before their answer."""
    body = json.dumps(request(input_audio(RECORDINGS[0])) | {"max_tokens": 500, "stream": True}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    place = urlsplit(server.url)
    for sent in (body[: len(body) // 2], body):
        with socket.create_connection((place.hostname, place.port)) as connection:
            connection.sendall(head.encode() + sent)
