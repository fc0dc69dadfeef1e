"""
What every test gets: no network, one thread a process, and a Hub of its own.

`huggingface_hub` reads its endpoint and cache folder when it is imported, so the fake Hub starts here, before any test module is
imported. Whatever a test, or a subprocess of a test, asks of "the Hub" arrives at loopback: a test that depends on the real one fails
at once, on every machine.
"""

import errno
import os
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.fake_hub import READ_TOKEN, WRITE_TOKEN, FakeHub


assert "huggingface_hub" not in sys.modules, (
    "huggingface_hub was imported before tests/conftest.py could point it to loopback"
)

_HF_HOME = Path(tempfile.mkdtemp(prefix="aura-tests-hf-"))
_HUB = FakeHub()

os.environ.update(
    {
        "HF_ENDPOINT": _HUB.endpoint,
        "HF_HOME": str(_HF_HOME),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "NO_PROXY": "127.0.0.1,localhost",
        # Two test processes on two cores: spinning OpenMP threads would cost more than the tests.
        "OMP_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "passive",
        "GOMP_SPINCOUNT": "0",
        "TOKENIZERS_PARALLELISM": "false",
        # What programs print is compared: no colours, one width.
        "NO_COLOR": "1",
        "COLUMNS": "120",
    }
)
for name in (
    "HF_TOKEN",
    "HF_HUB_CACHE",
    "HF_HUB_OFFLINE",
    "TRANSFORMERS_OFFLINE",
    "HUGGING_FACE_HUB_TOKEN",
    "FORCE_COLOR",
):
    os.environ.pop(name, None)


def pytest_unconfigure() -> None:
    """Take the Hub and its cache folder down with the process."""
    _HUB.close()
    shutil.rmtree(_HF_HOME, ignore_errors=True)


@pytest.fixture
def fake_hub() -> Iterator[FakeHub]:
    """An empty Hub and an empty local cache; nobody is logged in."""
    _HUB.clear()
    shutil.rmtree(_HF_HOME / "hub", ignore_errors=True)
    yield _HUB
    _HUB.clear()


@pytest.fixture
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """`huggingface_hub` does not wait before it asks again."""
    from huggingface_hub.utils import _http

    monkeypatch.setattr(_http, "time", SimpleNamespace(**{**vars(time), "sleep": lambda seconds: None}))


@pytest.fixture
def no_network(quick_retries: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing can be reached, not even the fake Hub."""
    from huggingface_hub import close_session

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise OSError(errno.ENETUNREACH, "Network is unreachable")

    close_session()  # its connections are open already
    monkeypatch.setattr(socket, "create_connection", refuse)


@pytest.fixture
def may_write(monkeypatch: pytest.MonkeyPatch) -> None:
    """Log in as somebody who may write to `org`."""
    monkeypatch.setenv("HF_TOKEN", WRITE_TOKEN)


@pytest.fixture
def may_only_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Log in as somebody who may read only."""
    monkeypatch.setenv("HF_TOKEN", READ_TOKEN)
