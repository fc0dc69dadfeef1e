"""The lowest versions that pyproject.toml allows, as constraints of pip.

    python -m tools.lowest_versions [EXTRA ...] > lowest.txt
    pip install --constraint lowest.txt '.[EXTRA,...]'

torch is left out: its lowest version has a build for CPUs alone on an index of its own only.
"""

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import tomllib


PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"
LEFT_OUT = ("torch",)


def lowest_versions(project: Mapping[str, Any], extras: tuple[str, ...]) -> dict[str, str]:
    """
    The lower bound of each direct dependency.

    Args:
        project: the table `project` of a pyproject.toml.
        extras: names of optional dependencies that are wanted too, with the extras that these name.

    Raises:
        ValueError: a requirement without a lower bound.
    """
    lowest: dict[str, str] = {}
    for requirement in _requirements(project, extras):
        name, bound = re.fullmatch(r"([\w.-]+)(?:\[[^]]*\])?\s*(.*)", requirement).groups()  # type: ignore[union-attr]
        version = re.search(r">=\s*([\w.]+)", bound)
        if version is None:
            raise ValueError(f"{requirement!r} has no lower bound; say from which version on it works (`>=`).")
        if name not in LEFT_OUT:
            lowest[name] = version[1]
    return lowest


def _requirements(project: Mapping[str, Any], extras: tuple[str, ...]) -> Iterator[str]:
    yield from project["dependencies"]
    waiting, seen = list(extras), set()
    while waiting:
        extra = waiting.pop()
        if extra in seen:
            continue
        seen.add(extra)
        for requirement in project["optional-dependencies"][extra]:
            own = re.fullmatch(rf"{project['name']}\[(.*)\]", requirement)
            if own is not None:
                waiting += own[1].split(",")
            else:
                yield requirement


def main() -> None:
    project = tomllib.loads(PYPROJECT.read_text())["project"]
    for name, version in sorted(lowest_versions(project, tuple(sys.argv[1:])).items()):
        print(f"{name}=={version}")


if __name__ == "__main__":
    main()
