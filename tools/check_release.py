"""Builds sdist and wheel, installs each in a fresh environment of every Python that is found, and uses it there, away from the checkout.

    python -m tools.check_release [--pythons python3.10 python3.11 ...] [--torch torch==2.13.0]

In each environment: the command answers, the data files of the package are there, and the tests of the sdist that need nothing else pass.
"""

import argparse
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path


ROOT = Path(__file__).parents[1]
PYTHONS = ("python3.10", "python3.11", "python3.12", "python3.13")
TESTS = ("tests/test_package.py", "tests/processing/test_feature_extraction_aura.py", "tests/modeling/test_loading.py")
USE = """
import transformers_aura
from transformers_aura.package_data import package_data_folder, packaged_students
assert "site-packages" in transformers_aura.__file__, transformers_aura.__file__
assert packaged_students() and list(package_data_folder("recipes").glob("*.yaml"))
for name in transformers_aura.__all__:
    getattr(transformers_aura, name)
"""


def run(*command: str | Path, where: Path) -> None:
    """Runs a program; ends with its status where it fails."""
    print("+", *command, flush=True)
    subprocess.run([str(part) for part in command], cwd=where, check=True)


def is_here(python: str) -> bool:
    """Whether a Python of this name starts; a name on the PATH may lead to none."""
    path = shutil.which(python)
    return path is not None and subprocess.run([path, "--version"], capture_output=True, check=False).returncode == 0


def build(folder: Path) -> tuple[Path, Path]:
    """The sdist, and the wheel that is built from it."""
    run(sys.executable, "-m", "build", "--outdir", folder, ROOT, where=folder)
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return sdist, wheel


def check(python: str, package: Path, sdist: Path, torch: str, folder: Path) -> None:
    """Installs a package for one Python, and uses it."""
    run(python, "-m", "venv", folder / "venv", where=folder)
    inside = folder / "venv" / "bin"
    run(inside / "python", "-m", "pip", "install", "--quiet", torch, where=folder)
    run(inside / "python", "-m", "pip", "install", "--quiet", f"{package}[test]", where=folder)
    run(inside / "aura", "--version", where=folder)
    run(inside / "python", "-c", USE, where=folder)
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (unpacked,) = folder.glob("transformers_aura-*/")
    shutil.rmtree(unpacked / "src")  # what is tested is what was installed
    run(inside / "python", "-m", "pytest", "-q", "-m", "not slow", *TESTS, where=unpacked)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pythons", nargs="+", default=[name for name in PYTHONS if is_here(name)])
    parser.add_argument("--torch", default="torch==2.13.0", help="what is installed as torch")
    given = parser.parse_args(arguments)
    if not given.pythons:
        parser.error(f"none of {', '.join(PYTHONS)} is here; name one with --pythons")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sdist, wheel = build(folder)
        for python in given.pythons:
            for package in (wheel, sdist) if python == given.pythons[0] else (wheel,):
                place = folder / f"{Path(python).name}-{package.suffix[1:]}"
                place.mkdir()
                check(python, package, sdist, given.torch, place)
                shutil.rmtree(place)
    names = [Path(python).name for python in given.pythons]
    missing = [python for python in PYTHONS if python not in names]
    print(
        f"Installed and used with {', '.join(given.pythons)}."
        + (f" Not here: {', '.join(missing)}." if missing else "")
    )


if __name__ == "__main__":
    main()
