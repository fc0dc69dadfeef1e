"""Writes the pages of docs/ that say what the code says: `python tools/docs_pages.py` (docs/commands/ and docs/recipes.md).

tests/tools/test_docs_pages.py fails where a page is not what this writes.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import yaml
from typer.models import OptionInfo, ParameterInfo


REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))  # so that `python tools/docs_pages.py` finds `tools`

from tools.docs_texts import COMMANDS, RECIPES, STOCK_ARGUMENTS  # noqa: E402


def pages() -> dict[str, str]:
    """Path below docs/ and text of each page."""
    return {**dict(_command_pages()), "recipes.md": _recipes_page()}


# Commands


@dataclass(frozen=True)
class Parameter:
    """
    What a command takes.

    Attributes:
        names: as written on the command line; of an argument its one name.
        is_option: whether it is named there.
        hint: type of its value.
        default: without which it must be given (`inspect.Parameter.empty`).
        info: what Typer is told of it.
    """

    names: list[str]
    is_option: bool
    hint: Any
    default: Any
    info: ParameterInfo


def commands() -> dict[str, Callable[..., Any]]:
    """The functions behind the commands of `aura`, by name."""
    from transformers_aura.cli.main import app

    functions = [command.callback for command in app.registered_commands if command.callback is not None]
    return {function.__name__.replace("_", "-"): function for function in functions}


def parameters(function: Callable[..., Any]) -> Iterator[Parameter]:
    """What the command behind a function takes, in the order of its signature."""
    hints = typing.get_type_hints(function, include_extras=True)
    for name, parameter in inspect.signature(function).parameters.items():
        if typing.get_origin(hints[name]) is not typing.Annotated:  # Typer's own context
            continue
        hint, info = typing.get_args(hints[name])[:2]
        is_option = isinstance(info, OptionInfo)
        given = [text for text in (info.default, *(info.param_decls or ())) if isinstance(text, str)]
        names = given or [f"--{name.replace('_', '-')}" if is_option else name.upper()]
        yield Parameter(names, is_option, hint, parameter.default, info)


def _command_pages() -> Iterator[tuple[str, str]]:
    rows = []
    for name, function in commands().items():
        rows.append(f"| [`aura {name}`]({name}.md) | {_cell(function.__doc__ or '')} |")
        yield f"commands/{name}.md", _command_page(name, function)
    table = "\n".join(["| command | what it does |", "|---|---|", *rows])
    yield "commands/index.md", f"# Commands\n\n{COMMANDS['']['text']}\n\n{table}\n"


def _command_page(name: str, function: Callable[..., Any]) -> str:
    if name not in COMMANDS:
        raise LookupError(f"tools/docs_texts.py has no examples of `aura {name}`: add them to COMMANDS.")
    arguments = [parameter for parameter in parameters(function) if not parameter.is_option]
    options = [parameter for parameter in parameters(function) if parameter.is_option and not parameter.info.hidden]
    usage = " ".join(["aura", name, *map(_usage, arguments), *["[OPTIONS]"] * bool(options)])
    parts = [f"# aura {name}", _plain(function.__doc__ or ""), f"```text\n{usage}\n```"]
    parts.append(f"## Examples\n\n```bash\n{COMMANDS[name]['examples']}\n```")
    if arguments:
        rows = [f"| `{argument.names[0]}` | {_help(argument)} |" for argument in arguments]
        parts.append("\n".join(["## Arguments\n", "| argument | |", "|---|---|", *rows]))
    if options:
        rows = [
            f"| `{'`, `'.join(option.names)}` | {_kind(option)} | {_default(option)} | {_help(option)} |"
            for option in options
        ]
        parts.append("\n".join(["## Options\n", "| option | value | default | |", "|---|---|---|---|", *rows]))
    if "text" in COMMANDS[name]:
        parts.append(COMMANDS[name]["text"])
    return "\n\n".join(parts) + "\n"


def _usage(argument: Parameter) -> str:
    name = argument.names[0] + ("..." if _is_list(argument.hint) else "")
    return name if argument.default is inspect.Parameter.empty else f"[{name}]"


def _is_list(hint: Any) -> bool:
    return any(typing.get_origin(one) is list for one in (hint, *typing.get_args(hint)))


def _kind(option: Parameter) -> str:
    repeatable = "; repeatable" if _is_list(option.hint) else ""
    if option.info.metavar:
        return f"`{option.info.metavar}`{repeatable}"
    kinds = [kind for kind in typing.get_args(option.hint) or (option.hint,) if kind is not type(None)]
    kind = typing.get_args(kinds[0])[0] if repeatable and typing.get_args(kinds[0]) else kinds[0]
    if kind is bool:
        return ""
    if issubclass(kind, Enum):
        return " or ".join(f"`{choice.value}`" for choice in kind)
    words = {str: "text", Path: "path", int: "whole number", float: "number"}
    least, most = option.info.min, option.info.max
    limits = [f"at least {least}"] * (least is not None) + [f"at most {most}"] * (most is not None)
    return ", ".join([words[kind], *limits]) + repeatable


def _default(option: Parameter) -> str:
    if option.default is inspect.Parameter.empty:
        return "must be given"
    return (
        ""
        if option.default is None or option.default is False or option.default == []
        else f"`{getattr(option.default, 'value', option.default)}`"
    )


def _help(parameter: Parameter) -> str:
    variable = f" Environment variable: `{parameter.info.envvar}`." if parameter.info.envvar else ""
    return _cell(parameter.info.help or "") + variable


# Recipes


def _recipes_page() -> str:
    from transformers_aura.distillation import recipe
    from transformers_aura.distillation.augmentation import WaveformAugmentation
    from transformers_aura.distillation.training_args import AuraTrainingArguments
    from transformers_aura.modeling.configuration_aura import AuraAudioConfig, AuraConfig
    from transformers_aura.modeling.modeling_aura import AuraForSpeechQA

    student = AuraForSpeechQA.from_language_model_pretrained
    model = described_arguments(recipe.ModelSection, student, AuraConfig, AuraAudioConfig) | RECIPES["model"]
    sections = {
        "": (recipe.Recipe, described_arguments(recipe.Recipe) | RECIPES[""]),
        "model": (recipe.ModelSection, model),
        "teacher": (recipe.TeacherSection, described_arguments(recipe.TeacherSection) | RECIPES["teacher"]),
        "data": (recipe.DataSection, described_arguments(recipe.DataSection) | RECIPES["data"]),
        "data.train": (recipe.DataSource, described_arguments(recipe.DataSource)),
        "data.augmentation": (
            recipe.AugmentationSection,
            described_arguments(recipe.AugmentationSection, WaveformAugmentation),
        ),
        "evaluation": (recipe.EvaluationSection, described_arguments(recipe.EvaluationSection)),
        "card": (recipe.CardSection, described_arguments(recipe.CardSection) | RECIPES["card"]),
    }
    own = described_arguments(AuraTrainingArguments)
    parts = ["# Recipes, line by line", RECIPES["intro"]["text"]]
    meanings = {
        _join(section, key): text for section, (_, described) in sections.items() for key, text in described.items()
    }
    for name in ("losses", "training"):
        meanings |= {_join(name, key): text for key, text in (own | STOCK_ARGUMENTS).items()}
    for path in sorted((REPOSITORY / "recipes").glob("*.yaml")):
        parts.append(_explained(path, meanings))
    parts.append(RECIPES["keys"]["text"])
    for section, (kind, described) in sections.items():
        parts.append(f"### {section or 'The whole recipe'}\n\n{_keys(kind, described)}")
    rows = [
        f"| `{field.name}` | {_value(field.default)} | {_sentence(own[field.name])} |"
        for field in dataclasses.fields(AuraTrainingArguments)
        if field.name in own
    ]
    parts.append("\n".join([RECIPES["training"]["text"], "", "| key | default | |", "|---|---|---|", *rows]))
    return "\n\n".join(parts) + "\n"


def described_arguments(*documented: Any) -> dict[str, str]:
    """Name and text of each argument or attribute in the docstrings of `documented`; the first one that tells of a name counts."""
    found: dict[str, str] = {}
    for item in documented:
        name, indent = None, None
        for line in (inspect.getdoc(item) or "").splitlines():
            if line in ("Args:", "Attributes:"):
                indent = None
                name = ""
            elif name is None:
                continue
            elif line and not line.startswith(" "):
                name = None
            elif line.strip():
                depth = len(line) - len(line.lstrip())
                indent = depth if indent is None else indent
                entry = re.match(r"([\w, ]+?)(?: \(.*?\))?:(?: |$)(.*)", line.strip()) if depth == indent else None
                if entry:
                    name = entry[1]
                    for one in name.split(", "):
                        if one not in found or "see [`AuraConfig`]" in found[one]:
                            found[one] = entry[2]
                elif name and depth > indent:
                    for one in name.split(", "):
                        found[one] = f"{found[one]} {line.strip()}".strip()
    return found


def _explained(path: Path, meanings: dict[str, str]) -> str:
    """A recipe, key by key."""
    text = path.read_text(encoding="utf-8")
    head = [line.lstrip("# ") for line in text.splitlines() if line.startswith("#")]
    rows = []
    for key, value, line in _leaves(yaml.compose(text), yaml.safe_load(text)):
        note = re.search(r"\s#\s(.*)$", text.splitlines()[line])
        meaning = _described(meanings, re.sub(r"\.\d+", "", key))
        rows.append(f"| `{key}` | {_value(value)} | {_sentence(meaning)} | {_cell(note[1]) if note else ''} |")
    table = "\n".join(["| key | here | what it is | why so |", "|---|---|---|---|", *rows])
    return f"## {path.stem}\n\n{' '.join(head)}\n\nThe file: [{path.name}](../recipes/{path.name}).\n\n{table}"


def _leaves(node: yaml.Node, content: Any, where: str = "", line: int = 0) -> Iterator[tuple[str, Any, int]]:
    """Every value of a recipe: its key, dots between the levels; the value; its line."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield from _leaves(value, content[key.value], _join(where, key.value), key.start_mark.line)
    elif isinstance(node, yaml.SequenceNode) and any(isinstance(item, yaml.MappingNode) for item in node.value):
        for index, item in enumerate(node.value):
            yield from _leaves(item, content[index], _join(where, str(index)))
    else:
        yield where, content, line


def _described(meanings: dict[str, str], key: str) -> str:
    if key not in meanings:
        raise LookupError(f"No docstring tells of the recipe's key `{key}`, nor does tools/docs_texts.py.")
    return meanings[key]


def _keys(kind: type, described: dict[str, str]) -> str:
    hints = typing.get_type_hints(kind)
    rows = []
    for field in dataclasses.fields(kind):
        if field.name == "text":
            continue
        if field.default_factory is not dataclasses.MISSING:
            default = "" if dataclasses.is_dataclass(hints[field.name]) else _value(field.default_factory())
        elif field.default is dataclasses.MISSING:
            default = "must be given"
        else:
            default = "" if field.default is None else _value(field.default)
        rows.append(
            f"| `{field.name}` | {_cell(_type(hints[field.name]))} | {default} | {_sentence(_described(described, field.name))} |"
        )
    return "\n".join(["| key | value | default | |", "|---|---|---|---|", *rows])


def _type(hint: Any) -> str:
    """What may be written there, in words."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return " or ".join(f"`{value}`" for value in arguments)
    if origin is list:
        return f"list of {'sources' if dataclasses.is_dataclass(arguments[0]) else _type(arguments[0])}"
    if origin is dict:
        return "keys and values"
    if arguments:
        return " or ".join(_type(argument) for argument in arguments if argument is not type(None))
    words = {str: "text", int: "whole number", float: "number", bool: "`true` or `false`"}
    return words.get(hint, "a section")


# Cells of tables


def _value(value: Any) -> str:
    if value is dataclasses.MISSING or value is None or value == "":
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, list | dict):
        return f"`{yaml.safe_dump(value, default_flow_style=True, width=10_000).strip()}`" if value else ""
    return f"`{value}`"


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def _plain(text: str) -> str:
    """A docstring's text in Markdown: what its square brackets name is code."""
    return re.sub(r"\[`~?([\w.]+)`\]", lambda found: f"`{found[1].rpartition('.')[2]}`", " ".join(text.split()))


def _cell(text: str) -> str:
    return _plain(text).replace("|", "\\|")


def _sentence(text: str) -> str:
    """A cell that begins with a capital, as the texts of docstrings do not."""
    text = _cell(text)
    return text[:1].upper() + text[1:]


def write(docs: Path) -> None:
    """Write all pages below `docs`."""
    for path, text in pages().items():
        (docs / path).parent.mkdir(parents=True, exist_ok=True)
        (docs / path).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write(REPOSITORY / "docs")
