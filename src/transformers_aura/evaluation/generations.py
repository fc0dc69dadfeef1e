"""What systems answered, kept as it comes, so that a run that was killed goes on and any scorer can be run again."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ..whole_files import disk_errors_named


@dataclass(frozen=True)
class Generation:
    """What came out for one item.

    Attributes:
        name: of the item.
        input: hash of what went in, see [`input_hash`].
        answer: the text, empty where it failed.
        seconds: length of the recording.
        confidence: see [`~transformers_aura.evaluation.systems.Answer`].
        error: why there is no answer, in words; `None` where there is one.
    """

    name: str
    input: str
    answer: str
    seconds: float | None = None
    confidence: float | None = None
    error: str | None = None


class GenerationFile:
    """A JSONL file, a [`Generation`] a line. Later lines win; half a line at the end, of a run that was killed, is dropped.

    Raises:
        ValueError: a line is no generation.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rows: dict[str, Generation] = {}
        if not path.is_file():
            return
        content = path.read_bytes()
        whole = content.rpartition(b"\n")[0]
        for number, line in enumerate(whole.splitlines(), start=1):
            try:
                row = Generation(**json.loads(line))
                if not all(isinstance(text, str) for text in (row.name, row.input, row.answer, row.error or "")):
                    raise TypeError("name, input, answer and error are text")
            except (TypeError, ValueError) as error:
                raise ValueError(
                    f"{path}, line {number}, holds no answer of an evaluation ({error}). Remove the file to ask again."
                ) from error
            self._rows[row.name] = row
        if len(content) > len(whole) + 1:
            with path.open("r+b") as file:
                file.truncate(len(whole) + 1 if whole else 0)

    def find(self, name: str, input_: str) -> Generation | None:
        """What came out for `name`, or `None` if nothing did, something else went in, or it failed."""
        row = self._rows.get(name)
        return row if row is not None and row.input == input_ and row.error is None else None

    def append(self, generation: Generation) -> None:
        """Keeps an answer, on disk before this returns."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with disk_errors_named(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(generation), ensure_ascii=False) + "\n")
        self._rows[generation.name] = generation

    def rows(self) -> dict[str, Generation]:
        """The last answer to every item, by its name."""
        return dict(self._rows)


def input_hash(waveform: np.ndarray, *texts: str | None) -> str:
    """Tells what went into a generation: 16 hexadecimal digits of the sha256 of samples and texts."""
    digest = hashlib.sha256(np.ascontiguousarray(waveform, np.float32).tobytes())
    for text in texts:
        digest.update(b"\0" + (text or "").encode())
    return digest.hexdigest()[:16]
