"""Memory and time of the first token of an answer to a long recording: a student, and its base LLM on as many embeddings.

Every system runs in a process of its own, once for each length, since a process keeps memory that it once had. Two figures of memory: the most of the process while it
answers (weights, Python and torch included), and by how much that is more than what it had before, with all weights loaded and one short clip answered. Linux only: the
peak is the kernel's (`VmHWM`), set back before the answer.
"""

import argparse
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.recordings import speech
from benchmarks.results import Result, Table
from benchmarks.systems import Systems
from benchmarks.timing import CLOCKS


LIMIT = "LLM alone, as many embeddings"
DIRECTLY = "student, directly"
FROM_TRANSCRIPT = "student, from its transcript"
SHORT_SECONDS = 3.0
"""Length of the clip that is answered before the peak counts."""


@dataclass(frozen=True)
class Memory:
    """
    Memory of a process around one answer.

    Attributes:
        tokens: of the prompt, audio included.
        before_bytes: what the process had before.
        peak_bytes: the most that it had while it answered.
        seconds: what the answer took.
    """

    tokens: int
    before_bytes: int
    peak_bytes: int
    seconds: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--lengths", type=float, nargs="+", default=[60.0, 300.0, 600.0], help="seconds of audio")


def measure(arguments: argparse.Namespace) -> Result:
    systems = Systems(arguments.student, arguments.base_model, dtype=arguments.dtype)
    peak = Table("Most memory of the process", "bytes", "seconds of audio", LIMIT)
    more = Table("By how much that is more than before the answer", "bytes", "seconds of audio", LIMIT)
    time = Table("First token, measured once", "s", "seconds of audio", LIMIT)
    tokens = []
    for seconds in arguments.lengths:
        found: dict[str, Memory] = {}
        for name, length in ((DIRECTLY, seconds), (FROM_TRANSCRIPT, seconds), (LIMIT, None)):
            count = length if length is not None else found[DIRECTLY].tokens
            found[name] = measure_apart(systems, name, count, arguments.threads, arguments.clock)
        tokens.append(found[DIRECTLY].tokens)
        peak.add(seconds, {name: [memory.peak_bytes] for name, memory in found.items()})
        more.add(seconds, {name: [memory.peak_bytes - memory.before_bytes] for name, memory in found.items()})
        time.add(seconds, {name: [memory.seconds] for name, memory in found.items()})
    note = f"Tokens of the prompts: {', '.join(map(str, tokens))}. The LLM alone takes them in one pass, as `generate` does by default."
    return Result("memory", tables=[peak, more, time], notes=[note])


def measure_apart(systems: Systems, system: str, length: float, threads: int, clock: str) -> Memory:
    """As [`measure_here`], in a process of its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(measure_here, systems, system, length, threads, clock).result()


def measure_here(systems: Systems, system: str, length: float, threads: int, clock: str) -> Memory:
    """One system in this process; `length` is seconds of audio, or embeddings for the LLM alone."""
    torch.set_num_threads(threads)
    if system == LIMIT:
        short, long = (systems.embeddings(count) for count in (64, int(length)))
        systems.answers_of_embeddings(short)
        return Memory(int(length), *around(lambda: systems.answers_of_embeddings(long), clock))
    answer_from: Any = "audio" if system == DIRECTLY else "transcript"
    short_clip, clip = (speech(seconds) for seconds in (SHORT_SECONDS, length))
    systems.first_token(short_clip, answer_from)
    found = around(lambda: systems.first_token(clip, answer_from), clock)
    return Memory(systems.prompt_length(clip), *found)


def around(run: Callable[[], Any], clock: str) -> tuple[int, int, float]:
    """Bytes that this process has before a run, and at most in it, and its seconds."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak counts from here on
    before, started = _of_status("VmRSS"), CLOCKS[clock]()
    run()
    return before, _of_status("VmHWM"), CLOCKS[clock]() - started


def _of_status(name: str) -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status holds no {name}.")
