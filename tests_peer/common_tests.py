"""The common tests of transformers, of the release that is installed: fetched from PyPI when they are first needed, and importable.

A wheel of transformers has no tests; its source distribution carries the common ones, which every model of the library passes. They are
kept in the cache (see `tools/packages.py`), never in this repository.
"""

import importlib.machinery
import importlib.util
import subprocess
import sys
import tarfile
from pathlib import Path, PurePosixPath

import transformers

from tools.packages import PackageError, appears_when_whole, cache_folder


PACKAGE = "transformers_common_tests"
"""Name under which the common tests are imported."""

STUBS = Path(__file__).parent / "stubs"
"""Stand-ins for what the common tests import and the source distribution lacks."""


def common_tests_folder() -> Path:
    """The common tests of the installed transformers, downloaded now if they are not in the cache yet.

    Raises:
        PackageError: the source distribution of this release cannot be had, or holds no tests.
    """
    folder = cache_folder() / "peer" / transformers.__version__
    if not folder.is_dir():
        with appears_when_whole(folder) as partial:
            _unpack_tests(_download(partial.parent), partial)
    return folder


def _download(folder: Path) -> Path:
    wanted = f"transformers=={transformers.__version__}"
    print(f"transformers: downloading the source distribution of {wanted} (10 MB)", flush=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "transformers"]
    result = subprocess.run([*command, "--dest", ".", wanted], cwd=folder, capture_output=True, text=True, check=False)
    files = list(folder.glob("*.tar.gz"))
    if result.returncode != 0 or len(files) != 1:
        reasons = [line for line in result.stderr.splitlines() if "ERR" in line]
        raise PackageError(
            f"Could not download the source distribution of {wanted} with pip: {' '.join(reasons) or 'no message'}. It holds the common "
            "tests of transformers. Check the network or the index settings and run this again; a release that is not on the index "
            "(a development version, say) has none: install one that is."
        )
    return files[0]


def _unpack_tests(archive: Path, folder: Path) -> None:
    """Writes the modules directly inside `tests/` of a source distribution; nothing else of it, by no other name, and no links."""
    folder.mkdir()
    (folder / "__init__.py").touch()  # one of the modules opens it
    with tarfile.open(archive) as distribution:
        for member in distribution:
            parts = PurePosixPath(member.name).parts
            if member.isfile() and len(parts) == 3 and parts[1] == "tests" and parts[2].endswith(".py"):
                content = distribution.extractfile(member)
                assert content is not None  # a file has one
                (folder / Path(parts[2]).name).write_bytes(content.read())
    if not (folder / "test_modeling_common.py").is_file():
        raise PackageError(f"{archive.name} holds no common tests (tests/test_modeling_common.py).")


def make_common_tests_importable() -> None:
    """Makes the package [`PACKAGE`] of the downloaded tests and, for what they lack, the stubs."""
    spec = importlib.machinery.ModuleSpec(PACKAGE, loader=None, is_package=True)
    spec.submodule_search_locations = [str(common_tests_folder()), str(STUBS)]
    sys.modules[PACKAGE] = importlib.util.module_from_spec(spec)
