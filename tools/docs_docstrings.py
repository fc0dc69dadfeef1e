"""Lets mkdocstrings read docstrings in the style of transformers: types in code style behind a name, groups of arguments, links in square brackets."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import griffe


TYPE = re.compile(r"^(\s*[\w*]+) \((.*?)\): ", re.MULTILINE)
SEVERAL = re.compile(r"^( +)(\w+(?:, \w+)+)((?: \(.*?\))?: )(.*(?:\n\1 +.*)*)", re.MULTILINE)
GROUP = re.compile(r"^ *> Parameters .*\n\n?", re.MULTILINE)
EXAMPLE = re.compile(r"^( *)Example:(?=\n\1 +>>> )", re.MULTILINE)
ELSEWHERE = re.compile(r"See \[`~?[\w.]+`\]\.?\s*")
LINK = re.compile(r"\[`~?([\w.]+)`\](?![\[(])")

REFERENCE = Path(__file__).parents[1] / "docs" / "api"
NAMES = {
    path.rpartition(".")[2]: path
    for page in REFERENCE.glob("*.md")
    for path in re.findall(r"^::: (\S+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
}
"""The names in the reference, with the modules that they are in."""


class TransformersStyle(griffe.Extension):
    """Rewrites each docstring before it is parsed; the mkdocs.yml names this file."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """See [griffe.Extension.on_object][]."""
        if obj.docstring is None:
            return
        if ELSEWHERE.fullmatch(obj.docstring.value):
            obj.docstring = None  # hence not shown: the class that it points to says it
        else:
            obj.docstring.value = plain(obj.docstring.value)


def plain(docstring: str) -> str:
    """A docstring as Google's style has it."""
    docstring = GROUP.sub("", docstring)
    docstring = SEVERAL.sub(_one_each, docstring)
    docstring = EXAMPLE.sub(r"\1Examples:", docstring)
    docstring = TYPE.sub(lambda found: f"{found[1]} ({_type(found[2])}): ", docstring)
    return LINK.sub(_link, docstring)


def _link(found: re.Match[str]) -> str:
    """A name in code style, which leads to its place in the reference if it has one."""
    name = found[1].rpartition(".")[2]
    return f"[`{name}`][{NAMES[name]}]" if name in NAMES else f"`{name}`"


def _type(text: str) -> str:
    """A type without the marks of Markdown."""
    return re.sub(r"(?<!\w)\[~?([\w.]+)\]", r"\1", text.replace("`", "").replace("*", ""))


def _one_each(found: re.Match[str]) -> str:
    """Arguments that share a description, each with a copy of it."""
    indent, names, kind, text = found.groups()
    return "\n".join(f"{indent}{name}{kind}{text}" for name in names.split(", "))
