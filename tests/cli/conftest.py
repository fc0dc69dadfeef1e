import pytest

from transformers_aura.cli.compute import GROUPED_ATTENTION


@pytest.fixture(autouse=True)
def _attention_as_before(monkeypatch):
    """Commands choose how attention is computed in their process, which here is that of all tests."""
    monkeypatch.setenv(GROUPED_ATTENTION, "")
