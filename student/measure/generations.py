"""Raw generations, kept as they come, so that a run that was killed goes on where it was."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.progress import track

from student.measure.cases import Case
from student.measure.interface import Request, System


class GenerationFile:
    """A JSONL file of `{"name", "input", "answer"}`: what was asked, a hash of what went in, what came out. Later lines win."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rows: dict[str, tuple[str, str]] = {}
        if not path.is_file():
            return
        whole = path.read_bytes().rpartition(b"\n")[0]  # a killed run may have left half a line
        for line in whole.splitlines():
            row = json.loads(line)
            self._rows[row["name"]] = (row["input"], row["answer"])
        with path.open("r+b") as file:
            file.truncate(len(whole) + 1 if whole else 0)

    def __contains__(self, name: str) -> bool:
        return name in self._rows

    def answer(self, name: str, input_: str) -> str | None:
        """What came out for `name`, or `None` if nothing did, or something else went in."""
        known = self._rows.get(name)
        return known[1] if known is not None and known[0] == input_ else None

    def append(self, name: str, input_: str, answer: str) -> None:
        """Keeps an answer, on disk before this returns."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            file.write(json.dumps({"name": name, "input": input_, "answer": answer}) + "\n")
        self._rows[name] = (input_, answer)


def generate(system: System, cases: Sequence[Case], path: Path, batch_size: int = 16) -> dict[str, str]:
    """The system's answers to the cases that it can be asked, by their names; those that `path` holds already are not asked again.

    Cases of one question share a batch, sorted by length.
    """
    file = GenerationFile(path)
    able = [case for case in cases if case.kind in system.kinds]
    inputs = {case.name: input_hash(case.load(), case.question, case.text) for case in able}
    todo = [case for case in able if file.answer(case.name, inputs[case.name]) is None]
    for batch in track(_batches(todo, batch_size), f"{system.name}: {path.stem}", disable=not todo):
        answers = system.answer([Request(case.load(), case.question, case.text) for case in batch])
        for case, answer in zip(batch, answers, strict=True):
            file.append(case.name, inputs[case.name], answer)
    answers_by_name = {case.name: file.answer(case.name, inputs[case.name]) for case in able}
    return {name: answer for name, answer in answers_by_name.items() if answer is not None}


def _batches(cases: Sequence[Case], batch_size: int) -> list[list[Case]]:
    by_question: dict[str | None, list[Case]] = {}
    for case in sorted(cases, key=lambda case: case.seconds):
        by_question.setdefault(case.question, []).append(case)
    return [
        group[start : start + batch_size]
        for group in by_question.values()
        for start in range(0, len(group), batch_size)
    ]


def input_hash(samples: np.ndarray, *texts: str | None) -> str:
    """Tells what went into a generation: 16 hexadecimal digits of the sha256 of samples and texts."""
    digest = hashlib.sha256(np.ascontiguousarray(samples, np.float32).tobytes())
    for text in texts:
        digest.update(b"\0" + (text or "").encode())
    return digest.hexdigest()[:16]
