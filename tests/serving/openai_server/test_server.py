"""`aura serve` and `transformers serve` asked over HTTP, by the official client and by those that send what they should not."""

import json
import re
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.serving.support import (
    Server,
    aura_serve,
    free_port,
    input_audio,
    recording,
    save_students,
    spoken_chat,
    transformers_serve,
)
from tests.support.fake_hub import FakeHub
from transformers_aura import AuraForSpeechQA, AuraProcessor
from transformers_aura.processing.conversation import TRANSCRIPTION_INSTRUCTION, build_conversation


MISSING = "the extra `serving` is not installed (`make test-serving` installs it)"
pytest.importorskip("fastapi", reason=MISSING)
openai = pytest.importorskip("openai", reason=MISSING)
guard = pytest.importorskip("transformers_aura.serving.openai_server.guard", reason=MISSING)

AUDIO = recording()
TOKENS = 6


@pytest.fixture(scope="module")
def students(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return save_students(tmp_path_factory.mktemp("students"))


@pytest.fixture(scope="module")
def compact(students: dict[str, Path]) -> Iterator[Server]:
    with aura_serve(students["compact"], free_port()) as server:
        yield server


@pytest.fixture(scope="module")
def merged(students: dict[str, Path]) -> Iterator[Server]:
    with aura_serve(students["merged"], free_port()) as server:
        yield server


@pytest.fixture(params=["compact", "merged"])
def server(request: pytest.FixtureRequest) -> Server:
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module", params=["compact", "merged"])
def stock_server(request: pytest.FixtureRequest, students: dict[str, Path]) -> Iterator[Server]:
    with transformers_serve(students[request.param], free_port()) as found:
        yield found


def chat_answer(server: Server, messages: Any, **settings: Any) -> str:
    settings = {
        "temperature": 0,
        **({} if "max_completion_tokens" in settings else {"max_tokens": TOKENS}),
        **settings,
    }
    answer = server.client().chat.completions.create(model=str(server.student), messages=messages, **settings)
    if settings.get("stream"):
        return "".join(chunk.choices[0].delta.content or "" for chunk in answer)
    return answer.choices[0].message.content


def response_answer(server: Server, audio: bytes, is_streamed: bool) -> str:
    parts = [input_audio(audio), {"type": "input_text", "text": "the cat"}]
    answer = server.client().responses.create(
        model=str(server.student),
        input=[{"role": "user", "content": parts}],
        max_output_tokens=TOKENS,
        temperature=0,
        stream=is_streamed,
    )
    if is_streamed:
        return "".join(event.delta for event in answer if event.type == "response.output_text.delta")
    return answer.output_text


class TestTransformersServe:
    """What the server of transformers does by itself with a repo that loads by itself."""

    def test_chat_and_responses_are_those_of_generate(self, stock_server: Server) -> None:
        expected = stock_server.expected_answer(spoken_chat(AUDIO), TOKENS)
        for is_streamed in (False, True):
            assert chat_answer(stock_server, spoken_chat(AUDIO), stream=is_streamed) == expected
            assert response_answer(stock_server, AUDIO, is_streamed) == expected

    def test_it_lives_on_after_bad_requests(self, stock_server: Server) -> None:
        expected = stock_server.expected_answer(spoken_chat(AUDIO), TOKENS)
        for messages in (spoken_chat(b"no audio"), [{"role": "user", "content": 7}], 7):
            with pytest.raises(openai.APIStatusError):
                chat_answer(stock_server, messages)
        assert chat_answer(stock_server, spoken_chat(AUDIO)) == expected


class TestAnswers:
    def test_chat_and_responses_are_those_of_generate(self, server: Server) -> None:
        expected = server.expected_answer(spoken_chat(AUDIO), TOKENS)
        for is_streamed in (False, True):
            assert chat_answer(server, spoken_chat(AUDIO), stream=is_streamed) == expected
            assert (
                chat_answer(server, spoken_chat(AUDIO), stream=is_streamed, max_completion_tokens=TOKENS) == expected
            )
            assert response_answer(server, AUDIO, is_streamed) == expected

    def test_text_alone_and_a_chat_of_several_turns(self, server: Server) -> None:
        chat = [{"role": "user", "content": "the cat"}, {"role": "assistant", "content": "a cat"}, *spoken_chat(AUDIO)]
        for messages in (chat[:1], chat):
            assert chat_answer(server, messages) == server.expected_answer(messages, TOKENS)

    def test_audio_at_an_address(self, server: Server, fake_hub: FakeHub) -> None:
        fake_hub.add_files("org/clips", {"clip.wav": AUDIO})
        address = f"{fake_hub.endpoint}/org/clips/resolve/main/clip.wav"
        message = {"role": "user", "content": [{"type": "audio_url", "audio_url": {"url": address}}]}
        expected = server.expected_answer([{"role": "user", "content": [input_audio(AUDIO)]}], TOKENS)
        assert chat_answer(server, [message]) == expected

    def test_many_clients_at_once(self, server: Server) -> None:
        clips = [recording(0.5 + number / 10, seed=number) for number in range(6)]
        with ThreadPoolExecutor(len(clips)) as clients:
            answers = list(clients.map(lambda clip: chat_answer(server, spoken_chat(clip)), clips))
        assert answers == [server.expected_answer(spoken_chat(clip), TOKENS) for clip in clips]

    def test_the_model_is_listed(self, server: Server) -> None:
        assert [model.id for model in server.client().models.list()] == [str(server.student)]


class TestTranscriptions:
    def test_of_the_compact_student_they_are_those_of_transcribe(self, compact: Server) -> None:
        for clip in (AUDIO, recording(25.0, file_format="FLAC")):
            expected = self.expected_transcript(compact.student, clip)
            assert expected
            assert self.transcript(compact, clip) == expected
            assert self.transcript(compact, clip, response_format="text") == expected
            assert self.streamed(compact, clip) == expected

    def test_a_merged_student_is_asked_in_words(self, merged: Server) -> None:
        clip = recording(0.5)
        parts = [input_audio(clip), {"type": "text", "text": TRANSCRIPTION_INSTRUCTION}]
        expected = merged.expected_answer([{"role": "user", "content": parts}], 256).strip()
        assert self.transcript(merged, clip) == expected
        assert self.streamed(merged, clip) == expected

    def expected_transcript(self, student: Path, clip: bytes) -> str:
        model = AuraForSpeechQA.from_pretrained(student)
        processor = AuraProcessor.from_pretrained(student)
        inputs = processor.apply_chat_template(
            build_conversation(clip), tokenize=True, return_dict=True, return_tensors="pt", add_generation_prompt=True
        )
        return model.transcribe(**inputs, tokenizer=processor.tokenizer)[0].text

    def transcript(self, server: Server, clip: bytes, **settings: Any) -> str:
        found = server.client().audio.transcriptions.create(model=str(server.student), file=("clip", clip), **settings)
        return found if isinstance(found, str) else found.text

    def streamed(self, server: Server, clip: bytes) -> str:
        events = list(
            server.client().audio.transcriptions.create(model=str(server.student), file=("clip", clip), stream=True)
        )
        *deltas, done = events
        assert done.type == "transcript.text.done"
        assert {event.type for event in deltas} <= {"transcript.text.delta"}
        assert "".join(event.delta for event in deltas) == done.text
        return done.text


def chat(content: Any, **settings: Any) -> bytes:
    return json.dumps({"messages": [{"role": "user", "content": content}], "max_tokens": TOKENS, **settings}).encode()


BAD_CHATS = {
    "no JSON": (b"{", 400, "The body is no JSON"),
    "a list": (b"[]", 400, "must be a JSON object"),
    "no messages": (b"{}", 400, "`messages` must be a list of messages, got None"),
    "messages of text": (b'{"messages": "hello"}', 400, "`messages` must be a list"),
    "a message of text": (b'{"messages": ["hello"]}', 400, "Message 1 must be an object"),
    "no role": (b'{"messages": [{"content": "hello"}]}', 400, "Message 1 has no `role`"),
    "a number": (chat(7), 400, "`content` of Message 1 must be a text or a list of parts"),
    "a picture": (
        chat([{"type": "image_url", "image_url": {"url": "https://x/y.png"}}]),
        400,
        "a part is .*input_audio",
    ),
    "an audio part without audio": (chat([{"type": "input_audio"}]), 400, "holds no audio"),
    "no audio": (chat([input_audio(b"no audio at all" * 20)]), 400, "audio"),
    "audio that is cut off": (chat([input_audio(AUDIO[:30])]), 400, "is truncated"),
    "no base64": (chat([{"type": "input_audio", "input_audio": {"data": "?!"}}]), 400, "sent as base64"),
    "a path": (chat([{"type": "audio_url", "audio_url": {"url": "/etc/hostname"}}]), 400, "begins with http"),
    "a file": (chat([{"type": "audio_url", "audio_url": {"url": "file:///etc/hostname"}}]), 400, "begins with http"),
    "nobody there": (
        chat([{"type": "audio_url", "audio_url": {"url": "http://127.0.0.1:9/a.wav"}}]),
        400,
        "audio_url",
    ),
    "another model": (chat("the", model="gpt-4o"), 404, "'gpt-4o' is not served here"),
    "a limit in words": (chat("the", max_tokens="many"), 400, "many"),
    "a temperature in words": (chat("the", temperature="hot"), 400, "hot"),
    "too many tokens": (chat("the", max_tokens=10**6), 400, "8192"),
    "an unknown field": (chat("the", maximum=3), 422, "maximum"),
}


class TestBadRequests:
    @pytest.fixture(autouse=True)
    def _lives_on(self, compact: Server) -> Iterator[None]:
        yield
        assert chat_answer(compact, [{"role": "user", "content": "the cat"}])

    @pytest.mark.parametrize("name", BAD_CHATS)
    def test_a_chat(self, compact: Server, name: str) -> None:
        body, status, message = BAD_CHATS[name]
        found, answer = compact.send("POST", "/v1/chat/completions", body)
        assert (found, set(answer)) == (status, {"error"}), answer
        assert re.search(message, answer["error"]["message"])

    def test_audio_longer_than_the_context(self, compact: Server) -> None:
        body = chat([input_audio(recording(700.0, file_format="FLAC"))])
        status, answer = compact.send("POST", "/v1/chat/completions", body)
        assert status == 400
        assert "seconds" in answer["error"]["message"]

    def test_a_response(self, compact: Server) -> None:
        for body, message in (
            ({"input": 7}, "`input` must be a list"),
            ({"input": [{"type": "input_audio", "input_audio": {"data": "/etc/hostname"}}]}, "not valid base64"),
            ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "a part is"),
        ):
            status, answer = compact.send("POST", "/v1/responses", json.dumps(body).encode())
            assert (status, message in answer["error"]["message"]) == (400, True), answer

    def test_a_transcription(self, compact: Server) -> None:
        form = "multipart/form-data; boundary=x"

        def body(name: str, content: bytes, more: str = "") -> bytes:
            head = f'--x\r\nContent-Disposition: form-data; name="{name}"; filename="a.wav"\r\n\r\n'.encode()
            return head + content + f"\r\n{more}--x--\r\n".encode()

        other = '--x\r\nContent-Disposition: form-data; name="response_format"\r\n\r\nsrt\r\n'
        for content, kind, message in (
            (body("other", AUDIO), form, "no `file`"),
            (body("file", b"no audio"), form, "audio"),
            (body("file", AUDIO[: len(AUDIO) // 2], other), form, "json, text"),
            (b"--x", form, ""),
            (AUDIO, "audio/wav", "no `file`"),
        ):
            status, answer = compact.send("POST", "/v1/audio/transcriptions", content, kind)
            assert (status, message in answer["error"]["message"]) == (400, True), answer

    @pytest.mark.parametrize("states_size", [True, False])
    def test_a_body_of_200_mb(self, compact: Server, states_size: bool) -> None:
        size = 200_000_000
        chunks = (b"0" * 1_000_000 for _ in range(size // 1_000_000))
        connection = compact.connection()
        headers = {"Authorization": f"Bearer {compact.key}", "Content-Type": "application/json"}
        if states_size:
            headers["Content-Length"] = str(size)
        connection.request("POST", "/v1/chat/completions", chunks, headers, encode_chunked=not states_size)
        answer = connection.getresponse()
        assert answer.status == 413
        assert f"{guard.MAX_BODY_BYTES} are taken" in json.load(answer)["error"]["message"]
        connection.close()

    def test_who_may_ask_what(self, compact: Server) -> None:
        for headers in ({"Authorization": "Bearer wrong"}, {"Authorization": ""}):
            assert compact.send("POST", "/v1/chat/completions", chat("the"), **headers)[0] == 401
        with pytest.raises(openai.AuthenticationError, match="API key is missing or wrong"):
            compact.client(api_key="wrong").models.list()
        assert compact.send("GET", "/health", Authorization="")[0] == 200
        assert compact.send("GET", "/v1/chat/completions")[0] == 405
        for path in ("/load_model", "/reset", "/docs", "/v1/systemone"):
            assert compact.send("POST", path, b"{}")[0] == 404

    def test_clients_that_go_away(self, compact: Server) -> None:
        address = ("127.0.0.1", compact.connection().port)
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {compact.key}\r\n"
        with socket.create_connection(address) as unfinished:  # in the middle of its body
            unfinished.sendall(f"{head}Content-Length: 1000\r\n\r\n{{".encode())
        body = chat([input_audio(AUDIO)], max_tokens=2000, stream=True)
        with socket.create_connection(address) as in_the_answer:
            in_the_answer.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            assert in_the_answer.recv(100).startswith(b"HTTP/1.1 200")
        with socket.create_connection(address) as before_the_answer:
            body = chat([input_audio(AUDIO)], max_tokens=50)
            before_the_answer.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        with socket.create_connection(address) as no_http:
            no_http.sendall(b"\x00\x01\x02 hello\r\n\r\n")

    def test_while_others_ask(self, compact: Server) -> None:
        clips = [recording(0.5 + number / 10, seed=number) for number in range(4)]
        expected = [compact.expected_answer(spoken_chat(clip), TOKENS) for clip in clips]
        with ThreadPoolExecutor(len(clips)) as clients:
            answers = [clients.submit(chat_answer, compact, spoken_chat(clip)) for clip in 3 * clips]
            for body, status, _ in BAD_CHATS.values():
                assert compact.send("POST", "/v1/chat/completions", body)[0] == status
            self.test_clients_that_go_away(compact)
            assert [answer.result() for answer in answers] == 3 * expected
