"""Which engine serves, and how vLLM is started."""

import os
import sys

import pytest

from transformers_aura.extras import MissingExtraError
from transformers_aura.serving import engines
from transformers_aura.serving.engines import Engine, choose_engine, serve_with_vllm


TRANSFORMERS = {"fastapi", "uvicorn", "openai", "multipart"}


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Modules that are there; a test fills it."""
    modules: set[str] = set()
    monkeypatch.setattr(engines, "_is_installed", modules.__contains__)
    return modules


def test_what_is_installed_serves(installed: set[str]) -> None:
    installed |= TRANSFORMERS
    assert choose_engine(None) is Engine.transformers
    installed.add("vllm")
    assert choose_engine(None) is Engine.vllm
    assert choose_engine(Engine.transformers) is Engine.transformers


def test_what_is_not_installed_is_named(installed: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MissingExtraError, match=r"transformers-aura\[serving\].*transformers-aura\[vllm\]"):
        choose_engine(None)
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(MissingExtraError, match=r"--engine vllm.*transformers-aura\[vllm\]"):
        choose_engine(Engine.vllm)
    installed |= TRANSFORMERS - {"multipart"}
    monkeypatch.setitem(sys.modules, "multipart", None)
    with pytest.raises(MissingExtraError, match=r"multipart.*transformers-aura\[serving\]"):
        choose_engine(Engine.transformers)


@pytest.mark.parametrize("is_vllm_itself", [True, False])
def test_vllm_gets_the_key_where_nobody_reads_it(is_vllm_itself: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VLLM_API_KEY", raising=False)
    monkeypatch.setattr(engines, "_is_vllm_itself", lambda: is_vllm_itself)
    started: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda program, command: started.append(command))
    serve_with_vllm("org/student", "127.0.0.1", 8001, "secret")
    (command,) = started
    assert command[3:5] == ["serve" if is_vllm_itself else "--model", "org/student"]
    assert {"--port", "8001"} <= set(command)
    assert "--model-impl" not in command  # our plugin names the class
    assert "secret" not in command
    assert os.environ.pop("VLLM_API_KEY") == "secret"
