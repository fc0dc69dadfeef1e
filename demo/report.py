"""What both demos print and write down: shares with their intervals, first words of answers, times to the first token."""

import os
import subprocess
import sys
from pathlib import Path

import torch
from rich.bar import Bar
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


BAR_WIDTH = 60


def show_times(times: results.Table, clips: str, picture: Path | None = None) -> None:
    """The time to the first token of each system, see `benchmarks.first_token`: a table, bars, and a `picture` (PNG) if asked for."""
    count = len(times.case_names)
    table = Table(
        title=f"Seconds to the first token of the answer, {count} {clips}, in turns, {torch.get_num_threads()} threads"
    )
    for column in first_token.SUMMARY_COLUMNS:
        table.add_column(column)
    for row in first_token.summary_rows(times):
        table.add_row(*row)
    console.print(table)
    medians = first_token.median_seconds(times)
    bars = Table.grid(padding=(0, 1))
    for system, seconds in medians.items():
        bars.add_row(system, Bar(max(medians.values()), 0, seconds, width=BAR_WIDTH, color="blue"), f"{seconds:.2f} s")
    console.print(bars)
    if picture is not None:
        draw_times(medians, f"Seconds to the first token, median of {count} {clips}", picture)
        console.print(f"The same as a picture: {picture}")


def draw_times(seconds: dict[str, float], title: str, path: Path) -> None:
    """Bars of seconds by system, as a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 0.9 + 0.55 * len(seconds)), layout="constrained")
    bars = axes.barh(list(seconds), list(seconds.values()), color="#2563eb")
    axes.bar_label(bars, fmt="%.2f s", padding=4)
    axes.invert_yaxis()
    axes.set_title(title, loc="left", fontsize=11)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.xaxis.set_visible(False)
    axes.margins(x=0.12)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def write_into_card(student: Path, counts: dict[str, tuple[int, int]], command: str) -> None:
    """Shares right, `description -> (right, total)`, into the student's own model card; `command` gives them again."""
    from transformers_aura.hub import Result, add_results

    results = [
        Result("accuracy", right / total, description, total, (interval.low, interval.high), command)
        for description, (right, total) in counts.items()
        for interval in [wilson_interval(right, total)]
    ]
    add_results(student, results)
