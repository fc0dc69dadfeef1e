"""Pictures of an evaluation: figures along a condition's number, and by group."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .calibration import Calibration
from .figures import ALL, Figure
from .results import PairedTest, Results, unique
from .trainings import without_single_trainings


AXIS_LABELS = {
    "noise": "signal-to-noise ratio (dB)",
    "speed": "speed (times)",
    "gain": "gain (dB)",
    "context": "words before the audio",
}
MIN_POINTS = 2


def draw_plots(results: Results, folder: Path, is_share: dict[str, bool]) -> list[tuple[str, str]]:
    """Draws what there is to draw into `folder`.

    Returns:
        `(benchmark, file name)` of each picture; none where matplotlib is not installed.
    """
    try:
        import matplotlib
    except ImportError:
        return []
    matplotlib.use("Agg")
    drawn: list[tuple[str, str]] = []
    for benchmark in unique(figure.benchmark for figure in results.figures):
        figures = [figure for figure in results.figures if figure.benchmark == benchmark]
        scorer = figures[0].scorer
        shown = without_single_trainings(figure.system for figure in figures)
        figures = [figure for figure in figures if figure.scorer == scorer and figure.system in shown]
        for kind in AXIS_LABELS:
            along = [f for f in figures if f.group == ALL and is_amount_of(f.condition, kind)]
            if len(unique(figure.condition for figure in along)) >= MIN_POINTS:
                clean = [f for f in figures if f.group == ALL and f.condition == "clean"]
                name = f"{benchmark}-{kind}.png"
                _along_condition(along, clean, kind, is_share[scorer], folder / name)
                drawn.append((benchmark, name))
        calibrated = [row for row in results.calibrations if (row.benchmark, row.scorer) == (benchmark, scorer)]
        if calibrated:
            name = f"{benchmark}-calibration.png"
            _calibration([row for row in calibrated if row.condition == calibrated[0].condition], folder / name)
            drawn.append((benchmark, name))
        first = figures[0].condition
        for key in unique(f.group.partition("=")[0] for f in figures if f.group != ALL):
            grouped = [f for f in figures if f.group.startswith(f"{key}=") and f.condition == first]
            if len(unique(figure.group for figure in grouped)) >= MIN_POINTS:
                name = f"{benchmark}-by-{key}.png"
                _by_group(grouped, key, is_share[scorer], folder / name)
                drawn.append((benchmark, name))
        headline = (benchmark, first, scorer, figures[0].system)  # what the first system loses to the others
        lost = [
            test
            for test in results.tests
            if (test.benchmark, test.condition, test.scorer, test.first) == headline
            and test.lost is not None
            and test.lost.items
            and len(test.lost.by_group) > MIN_POINTS
        ]
        if lost:
            name = f"{benchmark}-lost.png"
            _lost(lost, folder / name)
            drawn.append((benchmark, name))
    return drawn


def is_amount_of(condition: str, kind: str) -> bool:
    """Whether a condition is one of a kind with a number, not all of them pooled."""
    name, _, amount = condition.partition(":")
    return name == kind and amount != ALL


def _along_condition(
    figures: Sequence[Figure], clean: Sequence[Figure], kind: str, is_share: bool, path: Path
) -> None:
    chart, axes = _axes()
    for number, system in enumerate(unique(figure.system for figure in figures)):
        points = sorted((float(f.condition.partition(":")[2]), f) for f in figures if f.system == system)
        amounts = [amount for amount, _ in points]
        unit = 100 if is_share else 1
        color = f"C{number}"
        axes.plot(amounts, [unit * f.value for _, f in points], marker="o", color=color, label=system)
        axes.fill_between(
            amounts,
            [unit * f.interval.low for _, f in points],
            [unit * f.interval.high for _, f in points],
            color=color,
            alpha=0.15,
            linewidth=0,
        )
        for figure in clean:
            if figure.system == system:
                axes.axhline(unit * figure.value, color=color, linestyle=":", linewidth=1)
    axes.set_xlabel(AXIS_LABELS[kind])
    _finish(chart, axes, figures, is_share, path, "dotted: clean" if clean else "")


def _by_group(figures: Sequence[Figure], key: str, is_share: bool, path: Path) -> None:
    chart, axes = _axes()
    groups = unique(figure.group for figure in figures)
    systems = unique(figure.system for figure in figures)
    width = 0.8 / len(systems)
    unit = 100 if is_share else 1
    for number, system in enumerate(systems):
        of_system = {figure.group: figure for figure in figures if figure.system == system}
        places = [place for place, group in enumerate(groups) if group in of_system]
        found = [of_system[groups[place]] for place in places]
        values = [unit * figure.value for figure in found]
        errors = [
            [max(0.0, unit * (figure.value - figure.interval.low)) for figure in found],
            [max(0.0, unit * (figure.interval.high - figure.value)) for figure in found],
        ]
        shifted = [place - 0.4 + (number + 0.5) * width for place in places]
        axes.bar(shifted, values, width * 0.9, yerr=errors, capsize=2, color=f"C{number}", label=system)
    axes.set_xticks(range(len(groups)), [group.partition("=")[2] for group in groups])
    axes.set_xlabel(key)
    _finish(chart, axes, figures, is_share, path)


def _lost(tests: Sequence[PairedTest], path: Path) -> None:
    """What one system misses of what another gets, a share of each group."""
    chart, axes = _axes()
    of_tests = [test.lost.by_group if test.lost else {} for test in tests]
    groups = [group for group in unique(group for shares in of_tests for group in shares) if group != ALL]
    width = 0.8 / len(tests)
    for number, (test, shares) in enumerate(zip(tests, of_tests, strict=True)):
        places = [place for place, group in enumerate(groups) if group in shares]
        values = [100 * shares[groups[place]][0] / shares[groups[place]][1] for place in places]
        shifted = [place - 0.4 + (number + 0.5) * width for place in places]
        axes.bar(shifted, values, width * 0.9, color=f"C{number}", label=f"{test.first} misses, {test.second} gets")
    axes.set_xticks(range(len(groups)), groups, rotation=30, ha="right")
    axes.set_ylabel("lost (%)")
    axes.set_title(f"{tests[0].benchmark}, {tests[0].condition} ({tests[0].scorer})", fontsize=10)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7)
    chart.savefig(path, dpi=120)


def _calibration(calibrations: Sequence[Calibration], path: Path) -> None:
    chart, axes = _axes()
    axes.plot([0, 1], [0, 1], color="grey", linestyle=":", linewidth=1, label="as sure as right")
    for number, row in enumerate(calibrations):
        places = [part.confidence for part in row.bins]
        axes.plot(places, [part.accuracy for part in row.bins], marker="o", color=f"C{number}", label=row.system)
    axes.set_xlabel("confidence")
    axes.set_ylabel(f"share right ({calibrations[0].scorer})")
    axes.set_ylim(-0.02, 1.02)
    sizes = ", ".join(str(row.num_items) for row in calibrations)
    axes.set_title(
        f"{calibrations[0].benchmark}, {calibrations[0].condition} (n = {sizes}; ten bins of equal size)", fontsize=10
    )
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    chart.savefig(path, dpi=120)


def _axes() -> tuple[Any, Any]:
    from matplotlib.figure import Figure as Chart

    chart = Chart(figsize=(7, 4), layout="constrained")
    return chart, chart.subplots()


def _finish(chart: Any, axes: Any, figures: Sequence[Figure], is_share: bool, path: Path, note: str = "") -> None:
    axes.set_ylabel(f"{figures[0].scorer}{' (%)' if is_share else ''}")
    axes.set_ylim(bottom=0)
    sizes = unique(str(figure.num_items) for figure in figures)
    counted = f"n = {sizes[0]}" if len(sizes) == 1 else f"n = {min(map(int, sizes))} to {max(map(int, sizes))} a group"
    axes.set_title(f"{figures[0].benchmark} ({counted}; 95 % intervals{'; ' + note if note else ''})", fontsize=10)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    chart.savefig(path, dpi=120)
