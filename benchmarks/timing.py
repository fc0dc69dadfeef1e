"""Systems timed in turns, and what ran them."""

import gc
import os
import platform
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch


def _processor_seconds() -> float:
    times = os.times()
    return time.process_time() + times.children_user + times.children_system


CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "processor": _processor_seconds}
"""`wall`: the time that passes. `processor`: seconds of the processor, all threads and ended children together; other programs on the machine disturb them less."""


def time_in_turns(
    runs: Mapping[str, Callable[[], Any]],
    rounds: int,
    seconds: float = float("inf"),
    clock: str = "wall",
    device: str = "cpu",
    before: Mapping[str, Callable[[], Any]] | None = None,
) -> dict[str, list[float]]:
    """Seconds of each system in each round; a first round does not count.

    In a round every system runs once, and the next round begins with the next system: what disturbs the machine for a while disturbs all alike, and the
    times of one round belong together.

    Args:
        runs: what each system does.
        rounds: how often, at most.
        seconds: no further round begins when so many have passed; three there are in any case, where `rounds` allows it.
        clock: of [`CLOCKS`].
        device: what a run has to wait for before its time is taken.
        before: what a system does before each run, which is not timed.
    """
    read = CLOCKS[clock]
    names = list(runs)
    times: dict[str, list[float]] = {name: [] for name in names}
    before = before or {}

    def prepare(name: str) -> None:
        if name in before:
            before[name]()
        wait_for(device)

    for name, run in runs.items():
        prepare(name)
        run()
    started = time.perf_counter()
    for number in range(rounds):
        if number >= 3 and time.perf_counter() - started > seconds:
            break
        gc.collect()
        first = number % len(names)
        for name in names[first:] + names[:first]:
            prepare(name)
            begun = read()
            runs[name]()
            wait_for(device)
            times[name].append(read() - begun)
    return times


def wait_for(device: str) -> None:
    """Until an accelerator has done what it was given."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def machine(device: str = "cpu") -> dict[str, Any]:
    """What runs the measurement."""
    return {
        "processor": _processor_name(),
        "accelerator": torch.cuda.get_device_name(device) if device.startswith("cuda") else None,
        "cores": os.cpu_count(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
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
