"""`aura web`, up to where gradio is needed; `make test-web` goes on from there."""

import sys

import pytest

from tests.cli.test_main import run


def test_other_machines_are_refused_without_a_login(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "web", "anything", "--host", "0.0.0.0")
    assert code == 1
    assert "0.0.0.0" in err
    assert "ssh -L" in err
    assert "--user" in err


def test_a_name_needs_its_password(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    code, _, err = run(capsys, "web", "anything", "--user", "me")
    assert code == 2
    assert "AURA_WEB_PASSWORD" in err
    monkeypatch.setenv("AURA_WEB_PASSWORD", "secret")
    code, _, err = run(capsys, "web", "anything")
    assert code == 2
    assert "--user" in err
    assert "secret" not in err


def test_without_gradio_the_error_says_how_to_install_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    code, _, err = run(capsys, "web", "anything")
    assert code == 1
    assert "transformers-aura[web]" in err
