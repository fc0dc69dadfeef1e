"""Lower bounds become constraints; a dependency without one is an error."""

import pytest


tomllib = pytest.importorskip("tomllib", reason="Python 3.11 brings it")

from tools.lowest_versions import PYPROJECT, lowest_versions  # noqa: E402


def test_bounds_of_dependencies_and_of_extras_within_extras() -> None:
    project = {
        "name": "mine",
        "dependencies": ["numpy>=1.26", "hub[cli]>=1.31,<3", "torch>=2.6"],
        "optional-dependencies": {
            "test": ["mine[train]", "pytest>=8.3"],
            "train": ["datasets>=4.0"],
            "other": ["x>=1"],
        },
    }
    assert lowest_versions(project, ("test",)) == {"numpy": "1.26", "hub": "1.31", "pytest": "8.3", "datasets": "4.0"}


def test_every_dependency_of_this_package_has_a_lower_bound() -> None:
    project = tomllib.loads(PYPROJECT.read_text())["project"]
    assert "transformers" in lowest_versions(project, tuple(project["optional-dependencies"]))


def test_a_dependency_without_a_lower_bound_is_named() -> None:
    with pytest.raises(ValueError, match="'numpy' has no lower bound"):
        lowest_versions({"name": "mine", "dependencies": ["numpy"], "optional-dependencies": {}}, ())
