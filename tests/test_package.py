"""The package as a whole: one version, documented names, data files in a wheel too."""

import inspect
import re
import zipfile
from pathlib import Path

import pytest

import transformers_aura
from transformers_aura.package_data import package_data_folder


ROOT = Path(__file__).parents[1]


def test_one_version_everywhere() -> None:
    for file in ("pyproject.toml", "CITATION.cff"):
        stated = re.search(r'^version\s*[=:]\s*"?([\d.]+)', (ROOT / file).read_text(), flags=re.MULTILINE)
        assert stated is not None
        assert stated[1] == transformers_aura.__version__, file


@pytest.mark.parametrize("name", [name for name in transformers_aura.__all__ if name != "__version__"])
def test_public_names_exist_and_are_documented(name: str) -> None:
    documentation = vars(getattr(transformers_aura, name)).get("__doc__") or ""  # its own, not an inherited one
    if inspect.isfunction(getattr(transformers_aura, name)):
        documentation = getattr(transformers_aura, name).__doc__ or ""
    assert documentation, f"{name} has no docstring"
    assert not documentation.startswith(f"{name}("), f"{name} has the docstring that `dataclass` makes"


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="AuraModle"):
        transformers_aura.AuraModle  # noqa: B018


def test_data_files_are_found() -> None:
    assert (package_data_folder("hub_cards") / "student.md.jinja").is_file()
    assert list(package_data_folder("recipes").glob("*.yaml"))
    with pytest.raises(FileNotFoundError, match="nothing"):
        package_data_folder("nothing")


@pytest.mark.slow  # builds a wheel, which fetches the build backend
def test_a_wheel_holds_code_and_data(tmp_path: Path) -> None:
    import subprocess
    import sys

    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT)]
    subprocess.run(command, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    for recipe in (ROOT / "recipes").glob("*.yaml"):
        assert f"transformers_aura/recipes/{recipe.name}" in names
    assert "transformers_aura/hub_cards/student.md.jinja" in names
    for file in (ROOT / "hub_cards").rglob("*.*"):
        assert f"transformers_aura/{file.relative_to(ROOT)}" in names
    assert "transformers_aura/py.typed" in names
    assert not [name for name in names if name.startswith(("tests", "research"))]
