"""What both demos print and write down: shares with their intervals, first words of answers, times to the first token."""

import os
import subprocess
import sys
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from benchmarks import first_token, results
from transformers_aura.evaluation.statistics import wilson_interval


console = Console(width=None if sys.stdout.isatty() else 130)
# OpenMP's default spin-waiting makes small CPU operators many times slower as soon as two processes share a core.
QUIET = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "0", "TRANSFORMERS_VERBOSITY": "error"}


def share_right(right: int, total: int) -> str:
    """`8 of 12 = 67% (39% to 86%)`."""
    interval = wilson_interval(right, total)
    return f"{right} of {total} = {right / total:.0%} ({interval.low:.0%} to {interval.high:.0%})"


def first_words(answer: str, length: int = 40) -> str:
    """The first words of an answer, on one line."""
    words = " ".join(answer.split())
    return words if len(words) <= length else f"{words[: length - 3]}..."


def run(*command: str | Path, **environment: str) -> None:
    """Runs a Python program of its own to its end; raises `SystemExit` with its status if it fails."""
    result = subprocess.run([sys.executable, *map(str, command)], env=QUIET | os.environ | environment, check=False)
    if result.returncode != 0:
        console.print(
            f"[red]error: {command[0]} {command[1]} ended with status {result.returncode}; its reason stands above."
        )
        raise SystemExit(1)


def show_times(times: results.Table, clips: str) -> None:
    """The time to the first token of each system, see `benchmarks.first_token`."""
    count = len(times.case_names)
    table = Table(
        title=f"Seconds to the first token of the answer, {count} {clips}, in turns, {torch.get_num_threads()} threads"
    )
    for column in first_token.SUMMARY_COLUMNS:
        table.add_column(column)
    for row in first_token.summary_rows(times):
        table.add_row(*row)
    console.print(table)


def write_into_card(student: Path, counts: dict[str, tuple[int, int]], command: str) -> None:
    """Shares right, `description -> (right, total)`, into the student's own model card; `command` gives them again."""
    from transformers_aura.hub import Result, add_results

    results = [
        Result("accuracy", right / total, description, total, (interval.low, interval.high), command)
        for description, (right, total) in counts.items()
        for interval in [wilson_interval(right, total)]
    ]
    add_results(student, results)
