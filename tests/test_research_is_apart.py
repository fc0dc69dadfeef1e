"""The package, its demo, tools and tests import nothing of the research project, at the top of a module, inside a function or by name."""

import ast
import re
from pathlib import Path

import pytest


ROOT = Path(__file__).parents[1]
ROOMS = ("src", "demo", "tools", "tests", "benchmarks")
RESEARCH = {"research", "aura_research"}


def imported_modules(source: str) -> set[str]:
    """Top names of the modules that a source imports, and of strings that name one of the research project's."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(node.module or "")
        elif isinstance(node, ast.Constant) and re.fullmatch(r"aura_research[.\w]*", str(node.value)):
            found.add(node.value)  # import_module("..."), [python, "-m", "..."]
    return {name.partition(".")[0] for name in found}


@pytest.mark.parametrize("room", ROOMS)
def test_nothing_of_research_is_imported(room: str) -> None:
    files = [file for file in (ROOT / room).rglob("*.py") if file != Path(__file__)]
    guilty = [
        str(file.relative_to(ROOT)) for file in files if RESEARCH & imported_modules(file.read_text(encoding="utf-8"))
    ]
    assert guilty == []


def test_every_way_to_import_is_found() -> None:
    for source in (
        "import aura_research.train",
        "from aura_research import train",
        "def late():\n    from research.tests.support import x",
        "import_module('aura_research.train')",
        "[executable, '-m', 'aura_research.train']",
    ):
        assert RESEARCH & imported_modules(source), source
    assert not RESEARCH & imported_modules("from .research import x\nimport transformers_aura.research  # 'research'")
