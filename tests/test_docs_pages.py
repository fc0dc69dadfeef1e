"""The pages of docs/ that repeat what code says, repeat it right; and every page is in the site's navigation."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tools import docs_pages
from tools.docs_texts import COMMANDS


ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
LONGEST_SENTENCE = 25
"""Words."""

WRITTEN_BY_HAND = ["index", "how-aura-hears", "paper", "extras", "faq", "troubleshooting", "tutorials/your-domain"]


def test_generated_pages_are_up_to_date() -> None:
    stale = [
        path
        for path, text in docs_pages.pages().items()
        if not (DOCS / path).is_file() or (DOCS / path).read_text(encoding="utf-8") != text
    ]
    assert not stale, f"run `python tools/docs_pages.py`: {', '.join(stale)}"


def test_arguments_are_read_off_a_docstring() -> None:
    def documented() -> None:
        """What it does.

        Args:
            first (`str`, *optional*): the one: a text
                of two lines.
            second, third: others.

        Returns:
            nothing: at all.
        """

    described = docs_pages.described_arguments(documented)
    assert described == {"first": "the one: a text of two lines.", "second": "others.", "third": "others."}


@pytest.mark.parametrize("name", docs_pages.commands())
def test_examples_of_commands_use_what_there_is(name: str) -> None:
    taken = {option for parameter in docs_pages.parameters(docs_pages.commands()[name]) for option in parameter.names}
    for line in COMMANDS[name]["examples"].splitlines():
        if line.startswith("#"):
            continue
        program, command, *arguments = shlex.split(line)
        assert (program, command) == ("aura", name)
        assert {argument for argument in arguments if re.match(r"--?[a-z]", argument)} <= taken, line


def test_the_first_commands_name_files_and_options_that_there_are() -> None:
    page = (DOCS / "index.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```bash\n(.*?)```", page, flags=re.DOTALL)
    words = [word for block in blocks for line in block.splitlines() for word in shlex.split(line)]
    assert all((ROOT / word).is_file() for word in words if word.endswith(".flac"))
    lines = [shlex.split(line) for block in blocks for line in block.splitlines() if line.startswith("aura ")]
    assert [line[1] for line in lines] == ["ask", "ask", "transcribe"]
    for _, command, *arguments in lines:
        options = [
            option for parameter in docs_pages.parameters(docs_pages.commands()[command]) for option in parameter.names
        ]
        assert {argument for argument in arguments if argument.startswith("--")} <= set(options)


def entries(navigation: Any) -> Iterator[str]:
    """Pages of a `nav`, at any depth."""
    if isinstance(navigation, str):
        yield navigation
    elif isinstance(navigation, dict):
        for below in navigation.values():
            yield from entries(below)
    else:
        for below in navigation:
            yield from entries(below)


def test_every_page_is_in_the_navigation_once() -> None:
    navigation = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    pages = sorted(page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md"))
    assert sorted(entries(navigation)) == pages


def test_every_extra_is_in_the_table() -> None:
    rows = re.findall(r"^\| `([\w-]+)` \|", (DOCS / "extras.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (section,) = re.findall(r"^\[project\.optional-dependencies\]\n(.*?)^\[", project, flags=re.MULTILINE | re.DOTALL)
    assert sorted(rows) == sorted(re.findall(r"^([\w-]+) = \[", section, flags=re.MULTILINE))


def errors_of_the_package() -> str:
    """All source text, strings that stand on several lines put together, and every kind of quotation mark the same."""
    source = "\n".join(file.read_text(encoding="utf-8") for file in (ROOT / "src").rglob("*.py"))
    source = re.sub(r"[\"']\n\s*f?[\"']", "", source)
    return source.replace("\\", "").replace('"', "'").replace("`", "'")


def quoted_errors() -> list[str]:
    page = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
    return re.findall(r"^\| `([^`]+)` \| ", page, flags=re.MULTILINE)


def test_quoted_errors_are_still_raised() -> None:
    source = errors_of_the_package()
    assert len(quoted_errors()) > 40
    gone = [error for error in quoted_errors() if not all(part in source for part in error.split("..."))]
    assert not gone, gone


@pytest.mark.parametrize("page", WRITTEN_BY_HAND)
def test_sentences_are_short(page: str) -> None:
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"\]\([^)]*\)|`[^`]*`", " x ", text)
    pieces = re.split(r"[.!?:;](?:\s|$)|\n\s*\n|\||^\s*- ", text, flags=re.MULTILINE)
    long = [" ".join(piece.split()) for piece in pieces if len(piece.split()) > LONGEST_SENTENCE]
    assert not long
