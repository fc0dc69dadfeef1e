"""Several systems timed in turns, what ran them, and tables of it."""

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm


@dataclass(frozen=True)
class Times:
    """
    What one system took.

    Attributes:
        seconds: of each clip, and of each round: the time that passed.
        processor_seconds: the same in seconds of the processor, all threads together. With one thread on an idle machine both are alike; other programs
            disturb these less.
    """

    seconds: list[list[float]]
    processor_seconds: list[list[float]]

    @property
    def by_clip(self) -> list[float]:
        """Median of the rounds for each clip."""
        return [statistics.median(rounds) for rounds in self.seconds]

    @property
    def median(self) -> float:
        """Median of the clips."""
        return statistics.median(self.by_clip)


@dataclass(frozen=True)
class Ratio:
    """How many times as long one system takes as another, clip by clip: the median, and the least and the most."""

    median: float
    least: float
    most: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.least:.2f} to {self.most:.2f})"


def time_in_turns(runs: Mapping[str, Callable[[Any], Any]], clips: Sequence[Any], rounds: int) -> dict[str, Times]:
    """
    Every clip through every system, one after the other, in an order that changes from clip to clip; a first round does not count.

    Args:
        runs: for each system what it does with a clip.
        clips: what the systems are given.
        rounds: how often each clip is measured.
    """
    times = {name: Times([[] for _ in clips], [[] for _ in clips]) for name in runs}
    names = list(runs)
    jobs = [(0, -1)] + [(clip, number) for number in range(rounds) for clip in range(len(clips))]
    for turn, (clip, number) in enumerate(tqdm(jobs, desc="timing", leave=False)):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            started, processor_started = time.perf_counter(), time.process_time()
            runs[name](clips[clip])
            passed, processor_passed = time.perf_counter() - started, time.process_time() - processor_started
            if number >= 0:
                times[name].seconds[clip].append(passed)
                times[name].processor_seconds[clip].append(processor_passed)
    return times


def ratio(slower: Times, faster: Times) -> Ratio:
    """Times of one system to those of another, both of the same clips."""
    ratios = [above / below for above, below in zip(slower.by_clip, faster.by_clip, strict=True)]
    return Ratio(statistics.median(ratios), min(ratios), max(ratios))


def machine(dtype: str) -> dict[str, Any]:
    """What the numbers were measured with."""
    return {
        "processor": _processor_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "dtype": dtype,
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "transformers", "transformers-aura")},
    }


def _processor_name() -> str:
    information = Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; numbers stand on the right."""
    lines = [columns, ["---", *["---:"] * (len(columns) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def machine_line(of_machine: Mapping[str, Any]) -> str:
    """What the numbers were measured with, in one sentence."""
    return (
        f"{of_machine['processor']} ({of_machine['instructions']}), {of_machine['threads']} of {of_machine['cores']} cores, {of_machine['dtype']}, "
        f"torch {of_machine['torch']}, transformers {of_machine['transformers']}; load before the run {of_machine['load']}."
    )


def write_result(path: Path | None, result: Mapping[str, Any]) -> None:
    """Writes a result as JSON, where a file was named."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(result, indent=1, default=vars) + "\n", encoding="utf-8")
