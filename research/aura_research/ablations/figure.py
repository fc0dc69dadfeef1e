"""One picture a group: how its arms learn, over steps and over seconds, and how well they end."""

import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aura_research.ablations.clips import REAL, SYNTHETIC
from aura_research.ablations.results import ANSWER_KL, COSINE, CROSS_ENTROPY, CTC, Axis, RunResult, logged_figures
from transformers_aura.evaluation.statistics import wilson_interval


CURVES = {
    CROSS_ENTROPY: "cross-entropy of validation answers (nats a token)",
    ANSWER_KL: "KL of validation answers (nats a token)",
    CTC: "CTC loss of validation transcripts (nats a character)",
    COSINE: "cosine to the teacher",
}
AXES: tuple[tuple[Axis, str], ...] = (("step", "step"), ("train_seconds", "seconds of training"))


def draw_group(path: Path, arms: Mapping[str, Mapping[int, RunResult]]) -> None:
    """Writes a PNG of arm -> seed -> run, arms without runs left out: curves with their range over the seeds, bars with Wilson intervals.

    Bars, of orders that are right, are left out where no student was asked for any.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    arms = {name: runs for name, runs in arms.items() if runs}
    were_scored = any(run.checks for runs in arms.values() for run in runs.values())
    taken = logged_figures(run for runs in arms.values() for run in runs.values())
    kinds = (SYNTHETIC, REAL) if were_scored else ()
    rows, columns = max(len(taken), len(kinds)), len(AXES) + were_scored
    figure, axes = pyplot.subplots(
        rows, columns, figsize=(5.5 * columns, 4.3 * rows), layout="constrained", squeeze=False
    )
    for row, logged in enumerate(taken):
        for column, (axis, axis_label) in enumerate(AXES):
            for name, runs in arms.items():
                _plot_curve(axes[row][column], name, runs, logged.key, axis)
            axes[row][column].set(xlabel=axis_label, ylabel=CURVES[logged.key])
            if logged.by_ratio:
                axes[row][column].set_yscale("log")
    for row, kind in enumerate(kinds):
        _plot_bars(axes[row][-1], arms, kind)
    names = axes[0][0].get_legend_handles_labels()
    for empty in (ax for ax in axes.flat if not ax.has_data()):
        empty.set_axis_off()
    figure.legend(*names, loc="outside upper center", ncols=len(arms), fontsize="large")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=80)
    pyplot.close(figure)


def mean_curve(runs: Mapping[int, RunResult], key: str, axis: Axis) -> list[tuple[float, float, float, float]]:
    """Place, mean, lowest and highest value over the seeds at every log that all of them have; places are means too.

    Logs belong together by their number: runs of so many minutes are evaluated at equal shares of their time, after steps that differ.
    """
    points = []
    for entries in zip(*(run.curve(key) for run in runs.values()), strict=False):
        values = [entry[key] for entry in entries]
        points.append(
            (statistics.fmean(entry[axis] for entry in entries), statistics.fmean(values), min(values), max(values))
        )
    return points


def _plot_curve(axes: Any, name: str, runs: Mapping[int, RunResult], key: str, axis: Axis) -> None:
    points = mean_curve(runs, key, axis)
    if points:
        places, means, lows, highs = zip(*points, strict=True)
        line = axes.plot(places, means, label=name)[0]
        axes.fill_between(places, lows, highs, color=line.get_color(), alpha=0.2)
    else:  # keeps the colours of the arms alike in all panels
        axes.plot([], [], label=name)


def _plot_bars(axes: Any, arms: Mapping[str, Mapping[int, RunResult]], kind: str) -> None:
    shares, errors, names = [], [], []
    for name, runs in arms.items():
        marks = [mark for run in runs.values() for mark in run.last_marks(kind)]
        if marks:
            share = sum(marks) / len(marks)
            interval = wilson_interval(sum(marks), len(marks))
            shares.append(100 * share)
            errors.append((100 * (share - interval.low), 100 * (interval.high - share)))
            names.append(name)
    positions = range(len(names))
    if names:
        axes.barh(positions, shares, xerr=list(zip(*errors, strict=True)), capsize=3)
    axes.set(title=f"orders right at the end, {kind} (%)", xlim=(0, 100))
    axes.set_yticks(positions, names)
    axes.invert_yaxis()
