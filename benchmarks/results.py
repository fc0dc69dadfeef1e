"""What a benchmark gives: tables of numbers, as JSON, Markdown and plots."""

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


STUDENT = "aura-smollm2-135m"
"""The packaged student that is measured where none is named."""


@dataclass(frozen=True)
class Ratio:
    """One system's number divided by another's, round by round: the median, and the quartiles."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        if self.low == self.high:
            return f"{self.median:.3g}"
        return f"{self.median:.2f} ({self.low:.2f} to {self.high:.2f})"


@dataclass
class Table:
    """Numbers of several systems in several cases.

    Attributes:
        title: what was measured.
        unit: `s`, `bytes`, `operations`, ...
        cases: what the cases are: `seconds of audio`, `batch size`, ...
        reference: the system that all others are compared with; empty for numbers that are compared with nothing.
        values: for each system and case one number a round; the rounds of a case are the same for all systems.
    """

    title: str
    unit: str
    cases: str
    reference: str
    values: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    def add(self, case: object, of_systems: Mapping[str, Sequence[float]]) -> None:
        """The numbers of a case, `system -> one a round`."""
        for system, values in of_systems.items():
            self.values.setdefault(system, {})[_case_name(case)] = [float(value) for value in values]

    def median(self, system: str, case: object) -> float | None:
        """Of the rounds; `None` = not measured."""
        values = self.values.get(system, {}).get(_case_name(case))
        return statistics.median(values) if values else None

    def ratio(self, above: str, below: str, case: object) -> Ratio | None:
        """`above` divided by `below`, each round by itself; `None` = one of them was not measured."""
        name = _case_name(case)
        numerators, denominators = (self.values.get(system, {}).get(name) for system in (above, below))
        if not numerators or not denominators:
            return None
        ratios = [first / second for first, second in zip(numerators, denominators, strict=True)]
        low, median, high = statistics.quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
        return Ratio(median, low, high)

    @property
    def case_names(self) -> list[str]:
        """In the order in which they were added."""
        return list(dict.fromkeys(case for of_system in self.values.values() for case in of_system))

    @property
    def rounds(self) -> str:
        """How many there were: `5`, or `3 to 9` where that depends on the case."""
        counts = [len(values) for of_system in self.values.values() for values in of_system.values()]
        if not counts:
            return "0"
        return str(counts[0]) if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"

    def to_markdown(self) -> str:
        """The reference in its unit, the others as ratios to it."""
        rows = [["system", *self.case_names]]
        for system in sorted(self.values, key=lambda name: name != self.reference):
            cells = []
            for case in self.case_names:
                ratio = self.ratio(system, self.reference, case)
                median = self.median(system, case)
                if median is None:
                    cells.append("")
                elif system == self.reference or ratio is None:
                    cells.append(with_unit(median, self.unit))
                else:
                    cells.append(f"x {ratio}")
            rows.append([f"{system} (= 1)" if system == self.reference else system, *cells])
        return markdown_table(rows)


@dataclass
class Result:
    """What one run of a benchmark gave.

    Attributes:
        benchmark: its name, as the runner takes it.
        title: its docstring's first line.
        command: what gives it again.
        is_counted: counted from shapes, so the same on every machine; else measured.
        machine: what ran it, see [`timing.machine`].
        settings: `threads`, `dtype`, `device`, `clock`, `student`.
        date: the day of the run.
        tables: the numbers.
        notes: what a reader has to know beside the numbers, a sentence each.
    """

    benchmark: str
    title: str = ""
    command: str = ""
    is_counted: bool = False
    machine: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    date: str = ""
    tables: list[Table] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def file_stem(self) -> str:
        """Name of its file: of the benchmark, and of the settings that its numbers depend on, as far as they are not the usual ones."""
        settings, parts = self.settings, [self.benchmark]
        if not self.is_counted:
            parts += [f"{settings['threads']}t", settings["dtype"]]
            if settings["device"] != "cpu":
                parts.append(settings["device"].partition(":")[0])
        student = Path(settings.get("student", STUDENT)).name
        return "-".join(parts if student == STUDENT else [*parts, f"of-{student}"])

    def write(self, folder: Path) -> Path:
        """As JSON."""
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{self.file_stem}.json"
        rounded = {**asdict(self), "tables": [_rounded(asdict(table)) for table in self.tables]}
        file.write_text(json.dumps(rounded, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        return file

    @classmethod
    def read(cls, file: Path) -> "Result":
        """What [`write`] wrote."""
        values = json.loads(file.read_text(encoding="utf-8"))
        return cls(**{**values, "tables": [Table(**table) for table in values["tables"]]})

    def provenance(self) -> str:
        """What gave the numbers, in one line."""
        if self.is_counted:
            return f"Counted by `{self.command}`: the same on every machine."
        machine, settings = self.machine, self.settings
        place = (
            machine["accelerator"] or f"{machine['processor']} ({machine['instructions']}), {machine['cores']} cores"
        )
        rounds = ", ".join(dict.fromkeys(table.rounds for table in self.tables))
        clock = "" if settings["clock"] == "wall" else ", time of the processor"
        return (
            f"Measured by `{self.command}` on {self.date}: {settings['threads']} thread{'s' * (settings['threads'] != 1)}, {settings['dtype']}, "
            f"{rounds} rounds{clock}; {place}, torch {machine['torch']}, transformers {machine['transformers']}, load before the run {machine['load']}."
        )

    def to_markdown(self) -> str:
        """Tables, notes, and where they come from."""
        parts = [
            f"{table.title} ({table.cases}{f'; ratios to {table.reference}' if table.reference else ''}):\n\n{table.to_markdown()}"
            for table in self.tables
        ]
        return "\n\n".join([*parts, *(f"- {note}" for note in self.notes), self.provenance()])


def read_results(*folders: Path) -> dict[str, Result]:
    """All results of some folders by the stem of their files; a later folder's go before an earlier one's."""
    return {
        file.stem: Result.read(file) for folder in folders for file in sorted(folder.glob("*.json")) if folder.is_dir()
    }


def draw(table: Table, file: Path) -> None:
    """Ratios to the reference along the cases, with quartiles; bars where a case is no number."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 4.2), layout="constrained")
    systems = [system for system in table.values if system != table.reference]
    numbers = [_number(case) for case in table.case_names]
    is_line = len(numbers) > 1 and None not in numbers
    width = 0.8 / max(1, len(systems))
    for place, system in enumerate(systems):
        ratios = {case: table.ratio(system, table.reference, case) for case in table.case_names}
        found = [(index, case, ratio) for index, (case, ratio) in enumerate(ratios.items()) if ratio is not None]
        medians = [ratio.median for _, _, ratio in found]
        spread = [
            [ratio.median - ratio.low for _, _, ratio in found],
            [ratio.high - ratio.median for _, _, ratio in found],
        ]
        if is_line:
            along = [float(case) for _, case, _ in found]
            axes.errorbar(along, medians, yerr=spread, marker="o", markersize=4, capsize=2, label=system)
        else:
            axes.bar([index + place * width for index, _, _ in found], medians, width, yerr=spread, label=system)
    axes.axhline(1, color="black", linewidth=1, linestyle="--", label=f"{table.reference} = 1")
    if is_line:
        axes.set_xscale("log")
        axes.set_xticks([float(case) for case in table.case_names], table.case_names)
        axes.minorticks_off()
    else:
        middle = (len(systems) - 1) * width / 2
        axes.set_xticks([index + middle for index in range(len(table.case_names))], table.case_names)
    axes.set_xlabel(table.cases)
    axes.set_ylabel("ratio")
    axes.set_ylim(bottom=0)
    axes.set_title(table.title)
    axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=110, metadata={"Software": None})
    pyplot.close(figure)


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """A table, its first row on top; all columns but the first stand on the right."""
    lines = [rows[0], ["---", *["---:"] * (len(rows[0]) - 1)], *rows[1:]]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def with_unit(value: float, unit: str) -> str:
    """`12.3 ms`, `1.50 GB`, `3.2 G operations`, `7 breaks`."""
    if unit == "s":
        return f"{value:.2f} s" if value >= 1 else f"{1000 * value:.3g} ms"
    if unit in ("bytes", "operations"):
        for factor, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
            if value >= factor:
                return f"{value / factor:.3g} {letter}{'B' if unit == 'bytes' else ''}"
    return f"{value:.4g} {unit}".strip()


def _case_name(case: object) -> str:
    return f"{case:g}" if isinstance(case, (int, float)) else str(case)


def _number(case: str) -> float | None:
    try:
        return float(case)
    except ValueError:
        return None


def _rounded(values: Any) -> Any:
    if isinstance(values, dict):
        return {key: _rounded(value) for key, value in values.items()}
    if isinstance(values, list):
        return [_rounded(value) for value in values]
    return float(f"{values:.6g}") if isinstance(values, float) else values
