"""What is to be answered: recordings by name, folders, globs, manifests, Parquet files and standard input, as one list of named inputs."""

from __future__ import annotations

import glob
import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from ...processing.audio_source import is_path
from ...processing.manifests import SUFFIXES, find_manifest, listed
from .sources import PARQUET_SUFFIX, BatchInput, InputError, ListedInputs, Source, rows_of


AUDIO_SUFFIXES = frozenset((
    ".wav", ".w64", ".rf64", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".aiff", ".aif", ".aifc", ".au", ".snd", ".caf",
    ".sph", ".m4a", ".mp4", ".webm", ".mka", ".mkv", ".aac", ".amr",
))  # fmt: skip
"""How the names of recordings end, in folders."""

LONGEST_NAME = 200
"""Characters. What is longer is no name, but a recording itself (a `data:` URL); it is called by its number."""


@dataclass(frozen=True)
class Shard:
    """One machine's part of the inputs: every `count`-th, from the `index`-th on (0 is the first)."""

    index: int = 0
    count: int = 1

    @classmethod
    def parse(cls, written: str | None) -> Shard:
        """
        Of `"I/N"`, in which 1 is the first.

        Raises:
            InputError: it is of another form, or there is no such part.
        """
        if written is None:
            return cls()
        found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", written)
        if found is None or not 1 <= int(found[1]) <= int(found[2]):
            raise InputError(
                f"--shard is the number of this part and of all parts, 1/4 to 4/4 of four, not '{written}'."
            )
        return cls(int(found[1]) - 1, int(found[2]))


class Inputs:
    """
    All inputs of one run.

    Args:
        sources: in their order; names are unique over all of them.
        shard: the part that is this run's.
        single: whether exactly one recording was named, and named itself.

    Raises:
        InputError: two inputs have the same name.
    """

    def __init__(self, sources: Sequence[Source], shard: Shard, single: bool) -> None:
        self.single = single
        self._sources = sources
        self._shard = shard
        names = list(chain.from_iterable(source.names for source in sources))
        seen: set[str] = set()
        for name in names:
            if name in seen:
                raise InputError(f"Two inputs are called '{listed([name])}'; a row of the output could be of either.")
            seen.add(name)
        self.names = names[shard.index :: shard.count]

    def __len__(self) -> int:
        return len(self.names)

    def without(self, done: frozenset[str] | set[str]) -> Iterator[BatchInput]:
        """The inputs of this shard that are not done, read one after the other."""
        first = 0
        for source in self._sources:
            start = (self._shard.index - first) % self._shard.count
            places = range(start, len(source.names), self._shard.count)
            yield from source.read([place for place in places if source.names[place] not in done])
            first += len(source.names)


def find_inputs(written: Sequence[str], shard: str | None = None) -> Inputs:
    """
    The inputs that a command line names.

    Args:
        written: each one of

            - a recording: a path, or a URL;
            - a folder: of a manifest (`manifest.jsonl`), else of recordings, also those of folders in it, and Parquet files;
            - a manifest or a Parquet file with a column `audio`, and, if wanted, `name`, `question` and `context`;
            - a glob (`calls/**/*.wav`) of any of these files;
            - `-`: standard input, which holds a recording, or names of recordings, one a line.
        shard: `"I/N"`.

    Raises:
        InputError: there is no such folder, or nothing in it; a row without a recording; two inputs of the same name.
        MissingExtraError: a Parquet file, and no pyarrow.
    """
    part = Shard.parse(shard)
    sources: list[Source] = []
    files: dict[str, BatchInput] = {}  # one that is named twice, by itself and by a glob, is answered once
    named = 0
    for number, name in enumerate(written, start=1):
        kind = _kind_of(name)
        if kind == "recording":
            label = name if len(name) <= LONGEST_NAME else f"recording-{number}"
            files.setdefault(label, BatchInput(label, name))
            named += 1
        elif kind == "standard input":
            found = _standard_input()
            files.update((each.name, each) for each in found)
            named += sum(isinstance(each.audio, bytes) for each in found)
        else:
            for path in _paths_of(name, kind):
                if _kind_of(path) == "recording":
                    files.setdefault(path, BatchInput(path, path))
                else:
                    sources.append(rows_of(Path(path)))
    sources.insert(0, ListedInputs(list(files.values())))
    return Inputs(sources, part, single=named == len(written) == 1)


def _kind_of(written: str) -> str:
    if written == "-":
        return "standard input"
    if not is_path(written):
        return "recording"
    path = Path(written).expanduser()
    if path.is_dir():
        return "folder"
    if path.suffix.lower() in (*SUFFIXES, PARQUET_SUFFIX):
        return "rows" if path.is_file() else "glob" if glob.has_magic(written) else "rows"
    return "glob" if glob.has_magic(written) and not path.exists() else "recording"


def _standard_input() -> list[BatchInput]:
    """A recording, or the recordings that the lines of a text name."""
    data = sys.stdin.buffer.read()
    try:
        text = "" if b"\0" in data else data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = ""
    if not text.strip():
        return [BatchInput("-", data)]
    return [
        BatchInput(name, name) for name in dict.fromkeys(line.strip() for line in text.splitlines() if line.strip())
    ]


def _paths_of(written: str, kind: str) -> list[str]:
    """The files that a folder, a glob or a path of rows stands for."""
    path = os.path.normpath(os.path.expanduser(written))
    if kind == "rows":
        return [path]
    if kind == "glob":
        found = sorted(file for file in glob.glob(path, recursive=True) if not os.path.isdir(file))
        if not found:
            raise InputError(f"No file matches '{written}' (looked from '{os.getcwd()}').")
        return found
    manifest = find_manifest(Path(path), "manifest")
    if manifest is not None:
        return [str(manifest)]
    found = [
        str(file)
        for file in sorted(Path(path).rglob("*"))
        if file.suffix.lower() in {*AUDIO_SUFFIXES, PARQUET_SUFFIX}
        and file.is_file()
        and not any(part.startswith(".") for part in file.relative_to(path).parts)
    ]
    if not found:
        raise InputError(
            f"The folder '{written}' holds no recordings ({', '.join(sorted(AUDIO_SUFFIXES))}), no Parquet file and no manifest.jsonl."
        )
    return found
