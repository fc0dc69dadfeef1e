"""Peak memory of an answer to a long recording: a student, and its base LLM on as many embeddings.

    python -m benchmarks.memory --seconds 60 300

Every system runs in a process of its own, once for each length, since a process keeps memory that it once had. Two figures each: the most memory of the process while
it answers (weights, Python and torch included), and by how much that is more than what it had before, after loading and one short clip. Linux only: the peak is the
kernel's (`VmHWM`), set back before the answer.
"""

import argparse
import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.recordings import Recording, long_recording
from benchmarks.systems import STUDENT, Systems, set_threads
from benchmarks.timing import machine, machine_line, markdown_table, write_result
from benchmarks.transcript_time import questions_and_orders
from benchmarks.without_speech import SAMPLING_RATE


LIMIT = "LLM alone, as many embeddings"
DIRECTLY = "student, directly"
FROM_TRANSCRIPT = "student, from its transcript"
COLUMNS = ("system", "audio, seconds", "tokens", "peak, MB", "more than before, MB", "peak / LLM", "more / LLM")


@dataclass(frozen=True)
class Memory:
    """
    Memory of a process around one answer.

    Attributes:
        tokens: of the prompt, audio included.
        before_bytes: what the process had before, with all weights loaded.
        peak_bytes: the most that it had while it answered.
    """

    tokens: int
    before_bytes: int
    peak_bytes: int

    @property
    def more_bytes(self) -> int:
        """What the answer took beside what was loaded."""
        return self.peak_bytes - self.before_bytes


def peak_while(run: Callable[[], Any]) -> tuple[int, int]:
    """Bytes that this process has before a run, and at most in it."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak counts from here on
    before = _of_status("VmRSS")
    run()
    return before, _of_status("VmHWM")


def _of_status(name: str) -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status holds no {name}.")


def of_exact_length(recordings: Sequence[Recording], seconds: float) -> np.ndarray:
    """Recordings one behind another, from the first again where they are used up: float32 `(n_samples,)` at 16 kHz."""
    together = sum(recording.seconds for recording in recordings)
    again = [*recordings] * (1 + int(seconds // together))
    return np.resize(long_recording(again, seconds).waveform, round(seconds * SAMPLING_RATE))


def measure_here(systems: Systems, system: str, seconds: float, threads: int, tokens: int | None) -> Memory:
    """One system, in this process; `tokens`, of the prompt, must be known for the LLM."""
    set_threads(threads)
    if system == LIMIT:
        assert tokens is not None
        systems.first_token_of_embeddings(64)
        before, peak = peak_while(lambda: systems.first_token_of_embeddings(tokens))
        return Memory(tokens, before, peak)
    answer_from = "audio" if system == DIRECTLY else "transcript"
    short, clip = (of_exact_length(questions_and_orders(), length) for length in (3.0, seconds))
    systems.first_token(short, answer_from)
    before, peak = peak_while(lambda: systems.first_token(clip, answer_from))
    return Memory(systems.prompt_length(clip), before, peak)


def measure(systems: Systems, lengths: Sequence[float], names: Sequence[str], threads: int) -> dict[str, list[Memory]]:
    """Each system, length by length, in processes of their own."""
    found: dict[str, list[Memory]] = {name: [] for name in names}
    for place, seconds in enumerate(lengths):
        for name in names:
            tokens = found[DIRECTLY][place].tokens if name == LIMIT else None
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
                found[name].append(process.submit(measure_here, systems, name, seconds, threads, tokens).result())
    return found


def table_rows(found: dict[str, list[Memory]], lengths: Sequence[float]) -> list[list[str]]:
    """For each length and system: its memory, and how many times that of the LLM."""
    return [
        [
            name,
            f"{seconds:g}",
            str(memory.tokens),
            f"{memory.peak_bytes / 1e6:.0f}",
            f"{memory.more_bytes / 1e6:.0f}",
            f"{memory.peak_bytes / limit.peak_bytes:.2f}",
            f"{memory.more_bytes / limit.more_bytes:.2f}",
        ]
        for place, (seconds, limit) in enumerate(zip(lengths, found[LIMIT], strict=True))
        for name, memory in ((name, of_system[place]) for name, of_system in found.items())
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--student", default=STUDENT, help="packaged student, folder or Hub id")
    parser.add_argument(
        "--base-model", help="of the student, folder or Hub id; default: the copy of `make real-models`"
    )
    parser.add_argument("--seconds", type=float, nargs="+", default=[60.0, 300.0], help="lengths of the recordings")
    parser.add_argument("--without-transcript", action="store_true", help="leave out answers from transcripts")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dtype", default="float32", help="of all weights")
    parser.add_argument("--json", type=Path, help="where the result goes as JSON")
    settings = parser.parse_args()

    set_threads(settings.threads)
    systems = Systems(settings.student, settings.base_model, dtype=settings.dtype)
    names = (DIRECTLY, *([] if settings.without_transcript else [FROM_TRANSCRIPT]), LIMIT)
    of_machine = machine(settings.dtype)
    found = measure(systems, settings.seconds, names, settings.threads)
    write_result(
        settings.json,
        {
            "benchmark": "memory",
            "machine": of_machine,
            "student": settings.student,
            "seconds": settings.seconds,
            "memory": found,
        },
    )
    print(f"\nPeak memory of the first token, each system in a process of its own. {machine_line(of_machine)}\n")
    print(markdown_table(COLUMNS, table_rows(found, settings.seconds)))


if __name__ == "__main__":
    main()
