"""Every public name stands on a page of docs/api/, and its docstring says what a caller needs: arguments, result, errors, an example."""

from __future__ import annotations

import ast
import dataclasses
import doctest
import importlib
import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tools.docs_pages import described_arguments


ROOT = Path(__file__).parents[1]
PACKAGE = "transformers_aura"
PUBLIC_MODULES = [
    PACKAGE,
    f"{PACKAGE}.distillation.objectives",
    f"{PACKAGE}.evaluation.scorers",
    f"{PACKAGE}.evaluation.systems",
    f"{PACKAGE}.hub",
]
"""The package, and those packages in it that have an `__all__` of their own."""

DIRECTIVE = re.compile(r"^::: (\S+)$", re.MULTILINE)


def public_objects() -> dict[str, Any]:
    """Every public name of the package with what it names, the module where it is defined in front; constants are left out."""
    found = {}
    for module_name in PUBLIC_MODULES:
        module = importlib.import_module(module_name)
        for name in module.__all__:
            value = getattr(module, name)
            if inspect.isclass(value) or inspect.isfunction(value):
                found[f"{value.__module__}.{name}"] = value
    return found


PUBLIC = public_objects()


def methods(owner: type) -> Iterator[tuple[str, Callable[..., Any]]]:
    """The public methods that a class of this package defines itself and that no class above it documents."""
    for name, value in vars(owner).items():
        function = value.__func__ if isinstance(value, classmethod | staticmethod) else value
        function = inspect.unwrap(function) if callable(function) else function
        if (
            not inspect.isfunction(function)
            or not function.__qualname__.startswith(owner.__name__)
            or (name.startswith("_") and name != "__call__")
        ):
            continue
        if function.__module__.startswith(PACKAGE) and not _is_documented_above(owner, name):
            yield name, function


def _is_documented_above(owner: type, name: str) -> bool:
    above = [base for base in owner.__mro__[1:] if base is not object]
    return any(name in vars(base) for base in (*above, *implemented(owner)))


def implemented(owner: type) -> list[type]:
    """The public protocols of the package that a class lies in, which say what its methods and settings are for."""
    room = owner.__module__.rpartition(".")[0]
    protocols = [value for value in PUBLIC.values() if getattr(value, "_is_protocol", False)]
    return [protocol for protocol in protocols if protocol is not owner and protocol.__module__.startswith(f"{room}.")]


def functions() -> Iterator[tuple[str, Callable[..., Any]]]:
    """All public functions and methods, by dotted name."""
    for path, value in PUBLIC.items():
        if inspect.isclass(value):
            yield from ((f"{path}.{name}", function) for name, function in methods(value))
        else:
            yield path, value


def parameters(function: Callable[..., Any]) -> list[str]:
    """Names of the parameters that a caller gives, but for `*args` and `**kwargs`."""
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    signature = inspect.signature(function)
    return [
        name
        for name, parameter in signature.parameters.items()
        if name not in ("self", "cls") and not name.startswith("_") and parameter.kind not in variadic
    ]


def raised_errors(function: Callable[..., Any]) -> set[str]:
    """Names of the errors that the function itself raises."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    raised = (node.exc for node in ast.walk(tree) if isinstance(node, ast.Raise))
    calls = (error.func for error in raised if isinstance(error, ast.Call))
    return {call.id for call in calls if isinstance(call, ast.Name) and call.id[:1].isupper()}


def described(*documented: Any) -> set[str]:
    """Names that docstrings describe, in lists of arguments or in tables of shapes."""
    told = [item for item in documented if item is not None]
    tables = "\n".join(inspect.getdoc(item) or "" for item in told)
    return described_arguments(*told).keys() | set(re.findall(r"^ *\| *`?(\w+)`? *\|", tables, re.MULTILINE))


def section(function: Callable[..., Any], title: str) -> str:
    """The text below `title:` in a docstring; empty where there is none."""
    found = re.search(rf"^{title}:\n((?:[ ]+.*\n?|\n)*)", (inspect.getdoc(function) or "") + "\n", re.MULTILINE)
    return found[1] if found else ""


def shape_tables(owner: type | None) -> list[str]:
    """The methods whose arguments a class describes in a table of shapes."""
    return re.findall(r"^Inputs of `(\w+)`:", inspect.getdoc(owner) or "", re.MULTILINE) if owner else []


FUNCTIONS = dict(functions())
CLASSES = {path: value for path, value in PUBLIC.items() if inspect.isclass(value)}


def test_every_public_name_stands_on_a_page_and_nothing_else() -> None:
    pages = {
        page: DIRECTIVE.findall(page.read_text(encoding="utf-8")) for page in (ROOT / "docs" / "api").glob("*.md")
    }
    listed = [path for paths in pages.values() for path in paths]
    assert sorted(listed) == sorted(set(listed)), "a name stands on two pages"
    for path in listed:  # read, not imported: some need an extra
        module, _, name = path.rpartition(".")
        file = ROOT / "src" / Path(*module.split("."))
        file = file / "__init__.py" if file.is_dir() else file.with_suffix(".py")
        assert re.search(rf"^(class|def) {name}\b", file.read_text(encoding="utf-8"), re.MULTILINE), path
    assert PUBLIC.keys() <= set(listed)


def test_the_overview_names_what_is_on_each_page() -> None:
    folder = ROOT / "docs" / "api"
    rows = re.findall(r"^\| \[[^]]+\]\(([\w-]+\.md)\) \| (.*) \|$", (folder / "index.md").read_text(), re.MULTILINE)
    assert {page for page, _ in rows} == {page.name for page in folder.glob("*.md")} - {"index.md"}
    for page, names in rows:
        listed = DIRECTIVE.findall((folder / page).read_text(encoding="utf-8"))
        assert sorted(re.findall(r"`(\w+)`", names)) == sorted(path.rpartition(".")[2] for path in listed), page


def test_all_packages_with_public_names_are_known() -> None:
    source = ROOT / "src"
    with_names = [file for file in source.rglob("__init__.py") if "__all__" in file.read_text(encoding="utf-8")]
    assert sorted(".".join(file.parent.relative_to(source).parts) for file in with_names) == sorted(PUBLIC_MODULES)


@pytest.mark.parametrize("path", FUNCTIONS)
def test_a_function_says_what_it_takes_gives_and_raises(path: str) -> None:
    function = FUNCTIONS[path]
    assert inspect.getdoc(function), "no docstring"
    owner = CLASSES.get(path.rpartition(".")[0])
    told = described(function, *([owner] if function.__name__ in shape_tables(owner) else []))
    undescribed = set(parameters(function)) - told
    assert not undescribed, f"`Args:` lacks {', '.join(sorted(undescribed))}"
    if inspect.signature(function).return_annotation not in (None, "None", "NoReturn"):
        assert section(function, "Returns") or section(function, "Yields") or "returns" in told, (
            "`Returns:` is missing"
        )
    unsaid = {error for error in raised_errors(function) if error not in section(function, "Raises")}
    assert not unsaid, f"`Raises:` lacks {', '.join(sorted(unsaid))}"


@pytest.mark.parametrize("path", CLASSES)
def test_a_class_says_what_it_is_made_of(path: str) -> None:
    kind = CLASSES[path]
    documentation = vars(kind).get("__doc__") or ""
    assert documentation, "no docstring"
    if issubclass(kind, BaseException) or getattr(kind, "_is_protocol", False):
        return
    documented = [base for base in kind.__mro__ if base.__module__.startswith(PACKAGE)]
    undescribed = settings(kind) - described(*documented, *(vars(base).get("__init__") for base in documented))
    assert not undescribed, f"`Args:` or `Attributes:` lacks {', '.join(sorted(undescribed))}"


def settings(kind: type) -> set[str]:
    """What a class is made of: the parameters of its `__init__`, or the fields of a dataclass, but for those of a stock class or a protocol."""
    own = vars(kind).get("__init__")
    if own is not None and own.__module__.startswith(PACKAGE) and not dataclasses.is_dataclass(kind):
        return set(parameters(own))
    stock = [base for base in kind.__mro__ if not base.__module__.startswith(PACKAGE)]
    given = {name for base in stock for name in vars(base).get("__annotations__", {})}
    given |= {name for protocol in implemented(kind) for name in vars(protocol)}
    fields = {name for name, hint in vars(kind).get("__annotations__", {}).items() if "ClassVar" not in str(hint)}
    return {name for name in fields if not name.startswith("_")} - given


@pytest.mark.parametrize("path", PUBLIC)
def test_what_people_call_has_an_example(path: str) -> None:
    value = PUBLIC[path]
    if inspect.isclass(value) and (issubclass(value, BaseException) or getattr(value, "_is_protocol", False)):
        return
    if "Attributes:" in (inspect.getdoc(value) or "") and "Args:" not in (inspect.getdoc(value) or ""):
        return  # what a call returns, or a base class
    documented = [value, *(function for _, function in methods(value))] if inspect.isclass(value) else [value]
    assert any(re.search(r"```python|>>> ", inspect.getdoc(item) or "") for item in documented), "no example"


def examples(path: str) -> list[doctest.DocTest]:
    """The examples in a public name's docstrings that run as they stand. Those in fences need files or models."""
    module = sys.modules[PUBLIC[path].__module__]
    found = doctest.DocTestFinder().find(PUBLIC[path], path, module=module, globs=dict(vars(module)))
    return [example for example in found if example.examples and "```python" not in (example.docstring or "")]


@pytest.mark.parametrize("path", [path for path in PUBLIC if examples(path)])
def test_examples_are_true(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    failed = sum(doctest.DocTestRunner().run(example).failed for example in examples(path))
    assert not failed, capsys.readouterr().out
