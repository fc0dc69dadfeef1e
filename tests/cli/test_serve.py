"""`aura serve`: what it refuses, and what it says. Servers that run are in tests/serving."""

import pytest

from tests.cli.test_main import run
from transformers_aura.cli import serve as command
from transformers_aura.serving.engines import Engine


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple]:
    """What would be served."""
    calls: list[tuple] = []

    def with_transformers(model, listening, api_key, when_ready):
        calls.append((model, listening.getsockname()[0], api_key))
        when_ready()

    monkeypatch.delenv("AURA_API_KEY", raising=False)
    monkeypatch.setattr(command, "serve_with_transformers", with_transformers)
    monkeypatch.setattr(command, "serve_with_vllm", lambda *arguments: calls.append(arguments))
    monkeypatch.setattr(command, "choose_engine", lambda wanted: wanted or Engine.transformers)
    return calls


def test_the_address_is_said(started: list[tuple], capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "serve", "org/student", "--port", "0")
    assert code == 0, err
    assert out.startswith("org/student is served at http://127.0.0.1:")
    assert started == [("org/student", "127.0.0.1", None)]


@pytest.mark.parametrize("engine", list(Engine))
def test_other_machines_need_a_key(
    started: list[tuple], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, engine: Engine
) -> None:
    arguments = ("serve", "org/student", "--engine", engine.value, "--host", "0.0.0.0", "--port", "0")
    code, _, err = run(capsys, *arguments)
    assert code == 2
    assert "--api-key" in err
    assert not started
    monkeypatch.setenv("AURA_API_KEY", "from the environment")
    assert run(capsys, *arguments)[0] == 0
    assert "from the environment" in started[0]


def test_a_port_in_use_is_an_error(started: list[tuple], capsys: pytest.CaptureFixture[str]) -> None:
    from transformers_aura.serving.listening import address_of, listen

    with listen("127.0.0.1", 0) as listening:
        code, _, err = run(capsys, "serve", "org/student", "--port", address_of(listening).rpartition(":")[2])
    assert code == 1
    assert "cannot listen on 127.0.0.1" in err
    assert not started
