"""The server under the page, with a tiny student: who is let in, and who is let go."""

from pathlib import Path

import pytest

from tests.support.tiny_models import babble, tiny_transcriber
from transformers_aura import AuraProcessor


pytest.importorskip("gradio", reason="the page's tests need gradio")

from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from transformers_aura.serving.web.environment import gradio_environment
from transformers_aura.serving.web.limits import Limits
from transformers_aura.serving.web.microphone import hear_visitor
from transformers_aura.serving.web.page import _taken
from transformers_aura.serving.web.server import web_app
from transformers_aura.serving.web.visit import Visit
from transformers_aura.serving.web.visitors import Visitors
from transformers_aura.serving.web.voice_chat import VoiceChat


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("student")
    return tiny_transcriber(folder), AuraProcessor.from_pretrained(folder / "student")


@pytest.fixture
def visitors(student) -> Visitors[Visit]:
    return Visitors(lambda: Visit(VoiceChat(*student, max_seconds=5.0, max_new_tokens=4)), 2, 60.0)


@pytest.fixture
def microphone(visitors) -> TestClient:
    from fastapi import FastAPI, WebSocket

    app = FastAPI()

    @app.websocket("/aura/microphone")
    async def listen(websocket: WebSocket) -> None:
        await hear_visitor(websocket, visitors)

    return TestClient(app)


def test_a_visitor_is_heard_until_the_page_closes(microphone, visitors):
    visitor = visitors.enter()
    sound = (babble(1.0)["array"] * 32767).astype("<i2")
    with microphone.websocket_connect(f"/aura/microphone?visitor={visitor}") as socket:
        socket.send_json({"sampling_rate": 16_000})
        assert socket.receive_json()["seconds"] == 0
        for start in range(0, len(sound), 3200):
            socket.send_bytes(sound[start : start + 3200].tobytes())
            shown = socket.receive_json()
        assert shown["seconds"] == 1.0
        assert shown["captions"]
        assert shown["picture"].startswith("data:image/png")
        assert len(visitors) == 1
    assert len(visitors) == 0


@pytest.mark.parametrize(
    "sent", ["no JSON", '{"rate": 1}', '{"sampling_rate": 3}', '{"sampling_rate": "x"}', b"odd", b"ab"]
)
def test_what_no_microphone_sends_ends_the_visit(microphone, visitors, sent):
    with (
        pytest.raises(WebSocketDisconnect),
        microphone.websocket_connect(f"/aura/microphone?visitor={visitors.enter()}") as socket,
    ):
        socket.send_text(sent) if isinstance(sent, str) else socket.send_bytes(sent)
        socket.receive_json()
    assert len(visitors) == 0


def test_strangers_are_not_heard(microphone, visitors):
    visitors.enter()
    with (
        pytest.raises(WebSocketDisconnect) as closed,
        microphone.websocket_connect("/aura/microphone?visitor=x") as socket,
    ):
        socket.receive_json()
    assert "Reload" in closed.value.reason
    assert len(visitors) == 1


def test_a_login_is_asked_for(student):
    with gradio_environment():
        app = web_app(*student, "tiny", Limits(), login=("me", "secret"))
        with TestClient(app) as client:
            assert client.get("/config").status_code == 401
            assert (
                client.post(
                    "/gradio_api/queue/join", json={"data": [], "fn_index": 0, "session_hash": "x"}
                ).status_code
                == 401
            )
            assert client.post("/gradio_api/upload", files={"files": ("a.wav", b"RIFF")}).status_code == 401
            assert client.post("/login", data={"username": "me", "password": "wrong"}).status_code == 400
            assert client.post("/login", data={"username": "me", "password": "secret"}).status_code == 200
            assert client.get("/config").status_code == 200


def test_browsers_are_told_to_ask_no_other_host(student):
    with gradio_environment():
        app = web_app(*student, "tiny", Limits())
        with TestClient(app) as client:
            answer = client.get("/")
            assert "default-src 'self'" in answer.headers["content-security-policy"]
            assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
            config = client.get("/config").json()
    assert config["analytics_enabled"] is False
    assert all(dependency["api_visibility"] == "private" for dependency in config["dependencies"])


@pytest.mark.parametrize("num_inputs", [2, 3])
def test_an_action_takes_uploaded_files_only(student, tmp_path, num_inputs):
    secret = tmp_path / "secret.wav"
    secret.write_bytes(b"RIFF of somebody else")
    with gradio_environment() as uploads:
        app = web_app(*student, "tiny", Limits())
        with TestClient(app) as client:
            dependencies = client.get("/config").json()["dependencies"]
            action = next(number for number, other in enumerate(dependencies) if len(other["inputs"]) == num_inputs)
            for path, reason in (
                (str(secret), ""),
                ("http://127.0.0.1:9/voice.wav", "no addresses"),
                ("https://example.org/voice.wav", "no addresses"),
            ):
                file = {"path": path, "meta": {"_type": "gradio.FileData"}}
                data = ["visitor", "", file][-num_inputs:]
                body = {"data": data, "fn_index": action, "session_hash": "session"}
                client.post("/gradio_api/queue/join", json=body)
                with client.stream("GET", "/gradio_api/queue/data?session_hash=session") as events:
                    text = "".join(events.iter_text())
                assert '"success":false' in text
                assert reason in text
                assert "Reload" not in text  # as the action would have said, which knows no such visitor
                assert [path for path in uploads.rglob("*") if path.is_file()] == []
            assert client.get(f"/gradio_api/file={secret}").status_code == 403
    assert secret.exists()


def test_the_same_file_can_be_uploaded_again(student):
    with gradio_environment() as uploads:
        app = web_app(*student, "tiny", Limits(max_file_bytes=1000))
        with TestClient(app) as client:
            for _ in range(2):
                (path,) = client.post("/gradio_api/upload", files={"files": ("a.wav", b"RIFF")}).json()
                assert Path(path).is_relative_to(uploads)
                assert _taken(Path(path)) == b"RIFF"
                assert [*uploads.rglob("*.wav")] == []
            assert client.post("/gradio_api/upload", files={"files": ("a.wav", bytes(2000))}).status_code == 413


def test_the_script_and_the_style_come_with_the_package():
    from importlib.resources import files

    for name in ("microphone.js", "page.css"):
        assert files("transformers_aura.serving.web").joinpath(name).is_file()
