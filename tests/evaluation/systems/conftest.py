from pathlib import Path

import pytest

from tests.support.tiny import tiny_processor
from tests.support.tiny_models import save_tiny_language_model, tiny_student
from tests.support.tiny_whisper import save_writing_whisper


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny LLM's folder."""
    return save_tiny_language_model(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="session")
def student_folder(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A student of it."""
    folder = tmp_path_factory.mktemp("student")
    tiny_student(base).save_pretrained(folder)
    tiny_processor().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Whisper's folder."""
    return save_writing_whisper(tmp_path_factory.mktemp("whisper"))
