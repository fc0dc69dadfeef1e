"""What gradio finds in the environment."""

import os

import pytest

from transformers_aura.serving.web.environment import gradio_environment


def test_nothing_is_sent_or_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADIO_SHARE", "True")
    monkeypatch.setenv("GRADIO_ANALYTICS_ENABLED", "True")
    with pytest.raises(KeyError), gradio_environment() as uploads:
        (uploads / "someone").mkdir()
        (uploads / "someone" / "voice.wav").write_bytes(b"RIFF")
        gradio = {name: value for name, value in os.environ.items() if name.startswith("GRADIO_")}
        assert gradio == {"GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_TEMP_DIR": str(uploads)}
        raise KeyError
    assert not uploads.exists()
    assert os.environ["GRADIO_SHARE"] == os.environ["GRADIO_ANALYTICS_ENABLED"] == "True"
    assert "GRADIO_TEMP_DIR" not in os.environ
