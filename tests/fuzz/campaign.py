"""
The campaign: inputs that `hypothesis` makes, asked one after the other in a process of their own, and what became of each.

Every input ends in one of these:

- `answered`: a result, which the area found sensible;
- `refused`: an error of this package whose text names the thing given;
- a fault: `silent` (a result that cannot be right), `unclear` (any other error), `slow` (over the time limit), `hungry` (over
  the memory limit), `hang` (the process had to be ended) or `crash` (it ended by itself).
"""

from __future__ import annotations

import faulthandler
import json
import os
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.strategies import SearchStrategy

import transformers_aura


PACKAGE_FOLDER = str(Path(transformers_aura.__file__).resolve().parent)
CHUNK = 200
"""Inputs that share a seed. After a crash the campaign goes on with the next chunk."""

CPU_SECONDS, WALL_SECONDS, MEGABYTES = 10.0, 60.0, 1500.0
"""Limits of one input: time of the processor, time after which the process is ended, and growth of its memory."""

FAULTS = ("silent", "unclear", "slow", "hungry", "hang", "crash")


class Silent(Exception):
    """What an area raises of a result that cannot be right."""


@dataclass(frozen=True)
class Area:
    """One kind of input.

    Attributes:
        what: a line for the report.
        strategy: makes the inputs.
        ask: hands an input to the package and looks at the result. Raises [`Silent`] where it cannot be right.
        names: texts of which a refusal must hold one, by input: what was given, as a person would call it.
        share: part of a campaign's inputs.
        takes_stock_errors: whether an error of transformers counts as a refusal, if it holds one of the names.
    """

    what: str
    strategy: Callable[[], SearchStrategy[Any]]
    ask: Callable[[Any], None]
    names: Callable[[Any], tuple[str, ...]]
    share: float
    takes_stock_errors: bool = False


@dataclass(frozen=True)
class Fault:
    """One input that went wrong."""

    kind: str
    given: str
    message: str


@dataclass
class Tally:
    """What became of the inputs of an area."""

    counts: Counter[str] = field(default_factory=Counter)
    faults: list[Fault] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def inputs(self) -> int:
        return sum(self.counts.values())

    def add(self, outcome: str, fault: Fault | None = None) -> None:
        self.counts[outcome] += 1
        if fault is not None:
            self.faults.append(fault)


def judge(area: Area, given_input: Any) -> tuple[str, str]:
    """What became of one input, and the text that says why."""
    process, cpu_before = psutil.Process(), time.process_time()
    memory_before = process.memory_info().rss
    faulthandler.dump_traceback_later(WALL_SECONDS, exit=True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            area.ask(given_input)
        outcome, message = "answered", ""
    except Silent as error:
        outcome, message = "silent", str(error)
    except MemoryError as error:
        outcome, message = "hungry", f"MemoryError: {error}"
    except Exception as error:
        message = f"{type(error).__name__}: {error}"
        named = any(name.lower() in str(error).lower() for name in area.names(given_input))
        if named and (area.takes_stock_errors or _is_ours(error)):
            outcome = "refused"
        else:
            outcome, message = "unclear", message + _last_frames(error)
    finally:
        faulthandler.cancel_dump_traceback_later()
    grown = (process.memory_info().rss - memory_before) / 2**20
    cpu_seconds = time.process_time() - cpu_before
    if cpu_seconds > CPU_SECONDS:
        return "slow", f"{cpu_seconds:.1f} s, then {outcome} {message}"
    if grown > MEGABYTES:
        return "hungry", f"{grown:.0f} MB, then {outcome} {message}"
    return outcome, message


def _is_ours(error: Exception) -> bool:
    """Whether this package raised the error, of a class for people."""
    frames = traceback.extract_tb(error.__traceback__)
    return isinstance(error, (ValueError, TypeError, OSError)) and frames[-1].filename.startswith(PACKAGE_FOLDER)


def _last_frames(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)[-3:]
    return "".join(f" <- {Path(frame.filename).name}:{frame.lineno}" for frame in reversed(frames))


def run_here(area: Area, first_seed: int, inputs: int) -> Iterator[dict[str, Any]]:
    """Ask an area in this process; for each chunk its counts and its faults."""
    for number, start in enumerate(range(0, inputs, CHUNK)):
        yield _ask_chunk(area, first_seed + number, min(CHUNK, inputs - start))


def _ask_chunk(area: Area, chunk_seed: int, inputs: int) -> dict[str, Any]:
    counts: Counter[str] = Counter()
    faults: list[dict[str, str]] = []

    @seed(chunk_seed)
    @settings(
        max_examples=inputs,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(area.strategy())
    def ask_one(given_input: Any) -> None:
        _note(given_input)
        outcome, message = judge(area, given_input)
        counts[outcome] += 1
        if outcome in FAULTS:
            faults.append({"kind": outcome, "given": _short(given_input), "message": message})

    ask_one()
    return {"counts": counts, "faults": faults}


def run_apart(name: str, first_seed: int, inputs: int) -> Tally:
    """Ask an area in a process of its own; after a hang or a crash another one goes on with the next chunk."""
    tally, began = Tally(), time.monotonic()
    chunks, done = -(-inputs // CHUNK), 0
    while done < chunks:
        left = inputs - done * CHUNK
        command = [sys.executable, "-m", "tests.fuzz", "--here", name, "--seed", str(first_seed + done)]
        with tempfile.TemporaryFile("w+") as errors_file:  # a pipe that nobody reads would fill up
            process = subprocess.Popen(
                [*command, "--inputs", str(left)], stdout=subprocess.PIPE, stderr=errors_file, text=True
            )
            assert process.stdout is not None
            for line in process.stdout:
                if not line.startswith("{"):
                    continue
                chunk = json.loads(line)
                tally.counts.update(chunk["counts"])
                tally.faults += [Fault(**fault) for fault in chunk["faults"]]
                done += 1
            return_code = process.wait()
            errors_file.seek(0)
            errors = errors_file.read()
        if return_code != 0:
            if "Timeout" not in errors and "Fatal Python error" not in errors and return_code > 0:
                raise RuntimeError(f"The campaign itself failed on {name}:\n{errors[-3000:]}")
            kind = "hang" if "Timeout" in errors else "crash"
            tally.add(kind, Fault(kind, _noted(), errors[-1500:]))
            done += 1
    _note_of(os.getpid()).unlink(missing_ok=True)
    tally.seconds = time.monotonic() - began
    return tally


def _note_of(campaign_process: int) -> Path:
    return Path(tempfile.gettempdir()) / f"transformers-aura-fuzz-{campaign_process}"


def _note(given_input: Any) -> None:
    """Leaves what is asked now for the campaign, in case this process dies of it."""
    _note_of(os.getppid()).write_text(_short(given_input), encoding="utf-8", errors="backslashreplace")


def _noted() -> str:
    note = _note_of(os.getpid())
    return note.read_text(encoding="utf-8", errors="replace") if note.exists() else "unknown"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 600 else text[:600] + "..."
