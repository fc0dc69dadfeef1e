"""Who may know whom: the imports of the package, also those inside functions and under `TYPE_CHECKING`."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.tiny_models import tiny_student
from transformers_aura import AuraProcessor


PACKAGE = "transformers_aura"
SOURCE = Path(__file__).parents[1] / "src" / PACKAGE

BESIDE = {"auto_map", "extras", "folder_lock", "hub_access", "package_data", "repo_files", "whole_files"}
"""The modules beside the rooms, which know nobody."""

# What each room may import, besides itself. The modules beside the rooms are rooms of one module here.
MAY_KNOW = {
    "processing": {"auto_map", "hub_access", "repo_files"},
    "decoding": set(),
    "auto_map": set(),
    "package_data": set(),
    "folder_lock": set(),
    "whole_files": set(),
    "hub_access": set(),
    "repo_files": set(),
    "extras": set(),
    "modeling": {"processing", "decoding", "auto_map", "hub_access", "repo_files"},
    "distillation": {"processing", "decoding", "modeling"} | BESIDE,
    "pipelines": {"processing", "decoding", "modeling"},
    "streaming": {"processing", "decoding", "modeling"},
    "trl": {"processing", "modeling", "extras"},
    "hub": {"processing", "decoding", "modeling", "auto_map", "hub_access", "package_data", "whole_files"},
    "registration": {"processing", "decoding", "modeling", "package_data", "pipelines", "streaming", "hub"},
    "serving": {
        "processing",
        "decoding",
        "modeling",
        "package_data",
        "pipelines",
        "streaming",
        "hub",
        "registration",
        "extras",
    },
    "evaluation": {"processing", "decoding", "modeling", "pipelines", "hub"} | BESIDE,
    "cli": {"processing", "decoding", "modeling", "package_data", "pipelines", "streaming", "hub", "registration"}
    | {
        "extras",
        "folder_lock",
        "whole_files",
        "hub_access",
        "repo_files",
        "distillation",
        "evaluation",
        "serving",
        "",
    },
    "": {"registration"},  # the package's own `__init__.py`
}


def module_name(file: Path, source: Path = SOURCE) -> str:
    """Name of a module inside the package: `"hub.push"`, `"hub"` for its `__init__.py`, `""` for the package's own."""
    parts = file.relative_to(source).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(source: Path = SOURCE) -> dict[str, set[str]]:
    """Modules of the package, each with the modules of the package that it imports anywhere in its text."""
    files = {module_name(file, source): file for file in sorted(source.rglob("*.py"))}
    return {name: set(_imported(name, file, files)) for name, file in files.items()}


def _imported(name: str, file: Path, files: dict[str, Path]) -> Iterator[str]:
    package = [PACKAGE, *name.split(".")] if name else [PACKAGE]
    if file.stem != "__init__":
        package.pop()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*above, *filter(None, [node.module])])
            imported = [f"{origin}.{alias.name}" for alias in node.names]
        else:
            continue
        for full_name in imported:
            if full_name == PACKAGE or full_name.startswith(f"{PACKAGE}."):
                inside = full_name.removeprefix(PACKAGE).removeprefix(".")
                # `from .push import push_to_hub` names what is in a module, `from . import push` a module.
                yield inside if inside in files else inside.rpartition(".")[0]


def circles_of(imports: dict[str, set[str]]) -> list[str]:
    """A chain of imports for each circle that a walk over all modules comes upon: `"a -> b -> a"`."""
    found: list[str] = []
    done: set[str] = set()

    def walk(module: str, chain: list[str]) -> None:
        if module in chain:
            found.append(" -> ".join([*chain[chain.index(module) :], module]))
        elif module not in done:
            for imported in sorted(imports.get(module, ())):
                walk(imported, [*chain, module])
            done.add(module)

    for module in sorted(imports):
        walk(module, [])
    return found


def room_of(module: str) -> str:
    return module.partition(".")[0]


def trespasses_of(imports: dict[str, set[str]]) -> list[str]:
    """Imports of a room by one that may not know it."""
    return [
        f"{module} -> {imported}"
        for module, all_imported in sorted(imports.items())
        for imported in sorted(all_imported)
        if room_of(imported) not in MAY_KNOW[room_of(module)] | {room_of(module)}
    ]


def test_every_room_has_its_rule() -> None:
    assert {room_of(module) for module in imports_of()} <= MAY_KNOW.keys()


def test_no_circle_of_imports() -> None:
    assert circles_of(imports_of()) == []


def test_no_room_knows_one_that_it_may_not_know() -> None:
    assert trespasses_of(imports_of()) == []


@pytest.mark.parametrize(
    "hidden",
    [
        "from ..hub.push import publish",
        "from .. import hub",
        "import transformers_aura.hub.push",
        "def f():\n    from ..hub import push",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ..hub.push import publish",
    ],
)
def test_an_import_is_found_wherever_it_stands(hidden: str, tmp_path: Path) -> None:
    for room in ("modeling", "hub"):
        (tmp_path / room).mkdir()
    (tmp_path / "hub" / "__init__.py").write_text("from . import push\n")
    (tmp_path / "hub" / "push.py").write_text("from ..modeling import student\n")
    (tmp_path / "modeling" / "student.py").write_text(hidden)
    imports = imports_of(tmp_path)
    (trespass,) = trespasses_of(imports)
    assert trespass.startswith("modeling.student -> hub")
    assert circles_of(imports)[0] in (
        "hub -> hub.push -> modeling.student -> hub",
        "hub.push -> modeling.student -> hub.push",
    )


ASK = """
import json, sys
import numpy as np
from transformers import pipeline
import transformers_aura

answerer = pipeline("audio-question-answering", model=sys.argv[1])
answerer({"array": np.zeros(8000, np.float32) + 0.01, "sampling_rate": 16000}, max_new_tokens=2)
transformers_aura.AuraForSpeechQA.from_pretrained(sys.argv[1])
above = ("distillation", "evaluation", "cli", "serving")
print(json.dumps([name for name in sys.modules if name.startswith(tuple(f"transformers_aura.{room}" for room in above))]))
"""


def test_asking_a_student_imports_no_training_code(tmp_path: Path) -> None:
    base = tmp_path / "base"
    tiny_student(base).save_pretrained(tmp_path / "student")
    AuraProcessor.from_language_model_pretrained(base).save_pretrained(tmp_path / "student")
    run = subprocess.run([sys.executable, "-c", ASK, tmp_path / "student"], check=True, capture_output=True, text=True)
    assert json.loads(run.stdout.splitlines()[-1]) == []
