"""One picture a group: how its arms learn, over steps and over seconds, and how well they end."""

import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from student.ablations.clips import REAL, SYNTHETIC
from student.ablations.results import COSINE, CROSS_ENTROPY, CTC, Axis, RunResult
from transformers_aura.evaluation.statistics import wilson_interval


CURVES = (
    (CROSS_ENTROPY, "cross-entropy of validation answers (nats a token)"),
    (CTC, "CTC loss of validation transcripts (nats a letter)"),
    (COSINE, "cosine to the teacher"),
)
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
    columns = len(AXES) + were_scored
    figure, axes = pyplot.subplots(len(CURVES), columns, figsize=(5.5 * columns, 13), layout="constrained")
    for row, (key, label) in enumerate(CURVES):
        for column, (axis, axis_label) in enumerate(AXES):
            for name, runs in arms.items():
                _plot_curve(axes[row][column], name, runs, key, axis)
            axes[row][column].set(xlabel=axis_label, ylabel=label)
            # No arm of a group may have a teacher to be like, or letters to read.
            axes[row][column].set_visible(any(len(line.get_xdata()) for line in axes[row][column].lines))
            if key != COSINE:
                axes[row][column].set_yscale("log")
    if were_scored:
        for row, kind in enumerate((SYNTHETIC, REAL)):
            _plot_bars(axes[row][-1], arms, kind)
        axes[-1][-1].set_axis_off()
    names = axes[0][0].get_legend_handles_labels()
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
