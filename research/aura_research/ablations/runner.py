"""Runs the planned runs, two at once, each in a process on a core of its own."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from aura_research.ablations.plan import RunSpec
from aura_research.ablations.worker import RESULT


ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "passive",
    "GOMP_SPINCOUNT": "0",
    "TOKENIZERS_PARALLELISM": "false",
}
"""Environment of a run: spinning threads would take the other run's core."""


def available_cores() -> list[int | None]:
    """The cores that this process may use; two times `None`, nothing to pin to, where the system does not tell."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [None, None]


def run_all(out: Path, runs: Sequence[RunSpec], at_once: int = 2, poll_seconds: float = 1.0) -> list[str]:
    """Runs what is not finished yet. A run that fails does not stop the others; its output is in its `log.txt`.

    Returns:
        the folders of the runs that failed.
    """
    todo = [spec for spec in runs if not (out / spec.folder / RESULT).is_file()]
    print(f"{len(runs) - len(todo)} of {len(runs)} runs are done.", flush=True)
    free = available_cores()[:at_once]
    waiting, failed = list(todo), []
    running: dict[subprocess.Popen, tuple[RunSpec, int | None, float]] = {}
    try:
        while waiting or running:
            while waiting and free:
                spec, core = waiting.pop(0), free.pop(0)
                running[_start(out / spec.folder, core)] = spec, core, time.monotonic()
            time.sleep(poll_seconds)
            for process in [process for process in running if process.poll() is not None]:
                spec, core, started = running.pop(process)
                free.append(core)
                done = len(todo) - len(waiting) - len(running)
                minutes = (time.monotonic() - started) / 60
                how = "done" if process.returncode == 0 else f"failed, see {out / spec.folder / 'log.txt'}"
                print(f"{done}/{len(todo)} {spec.name}, seed {spec.seed}: {how} ({minutes:.1f} min)", flush=True)
                if process.returncode != 0:
                    failed.append(spec.folder)
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait()
    return failed


def _start(folder: Path, core: int | None) -> subprocess.Popen:
    command = [sys.executable, "-m", "aura_research.ablations.worker", str(folder)]
    if core is not None:
        command += ["--core", str(core)]
    with (folder / "log.txt").open("a") as log:
        return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env={**os.environ, **ONE_THREAD})
