"""What the runner hands to a benchmark, for tiny models."""

import argparse
from pathlib import Path

import pytest

from benchmarks import systems
from tests.support.published import save_tiny_whisper
from tests.support.tiny_models import tiny_transcriber


def tiny_arguments(folder: Path, monkeypatch: pytest.MonkeyPatch, **own: object) -> argparse.Namespace:
    """Arguments of a benchmark, its models tiny ones saved in `folder`."""
    tiny_transcriber(folder, decoding_config={"beam_size": 4, "num_rescored": 2})
    whisper = save_tiny_whisper(folder / "whisper")
    monkeypatch.setattr(systems, "real_model_folder", lambda name: whisper)
    # Its models are no Hugging Face folders, so there is no tiny one.
    monkeypatch.setattr(systems.Systems, "has_faster_whisper", False)
    settings = {
        "student": str(folder / "student"),
        "base_model": str(folder / "base"),
        "dtype": "float32",
        "device": "cpu",
        "threads": 1,
        "rounds": 1,
        "seconds": 1.0,
        "clock": "processor",
    }
    return argparse.Namespace(**settings | own)
