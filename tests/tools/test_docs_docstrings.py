"""Docstrings in the style of transformers, as mkdocstrings reads them. griffe itself is not needed here."""

import re
import sys
import types
from pathlib import Path

import pytest


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch):
    """The function, loaded as the site's build does, with a stand-in for griffe where that is not installed."""
    monkeypatch.setitem(sys.modules, "griffe", types.SimpleNamespace(Extension=object, Object=object))
    file = Path(__file__).parents[2] / "tools" / "docs_docstrings.py"
    names: dict = {"__file__": str(file)}
    exec(compile(file.read_text(encoding="utf-8"), "docs_docstrings.py", "exec"), names)
    return names["plain"]


def test_types_lose_their_marks_and_shared_descriptions_are_copied(plain) -> None:
    docstring = """Does it.

    Args:
        > Parameters that control nothing

        first (`str`, *optional*, defaults to `"a"`): text, see [`~module.Name`] and [`~transformers_aura.load_audio`].
        second, third ([`AuraConfig`]): of two
            lines.
        fourth (`dict[str, int]`): counts.

    Example:
        >>> 1 + 1
        2
    """
    assert (
        re.sub(r" +\n", "\n", plain(docstring))
        == """Does it.

    Args:
        first (str, optional, defaults to "a"): text, see `Name` and [`load_audio`][transformers_aura.processing.audio_loading.load_audio].
        second (AuraConfig): of two
            lines.
        third (AuraConfig): of two
            lines.
        fourth (dict[str, int]): counts.

    Examples:
        >>> 1 + 1
        2
    """
    )
