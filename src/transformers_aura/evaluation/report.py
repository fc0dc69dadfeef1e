"""`results.md`: what an evaluation found, to read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .figures import ALL, Figure
from .results import PairedTest, Results, unique


REPORT_FILE = "results.md"
MAX_FAILURES = 20
LONGEST_SHOWN = 64
"""Characters: a sha256 is shown whole."""


def write_report(
    results: Results, folder: Path, is_share: dict[str, bool], plots: Sequence[tuple[str, str]] = ()
) -> Path:
    """Writes the report.

    Args:
        results: what was found.
        folder: gets it.
        is_share: of each scorer by name, whether its figure is shown as per cent.
        plots: `(benchmark, file in folder)` of each picture.
    """
    parts = ["# Results", _summary(results), _overview(results, is_share)]
    for benchmark in unique(figure.benchmark for figure in results.figures):
        parts += _benchmark(results, benchmark, is_share)
        parts += [f"![{file.removesuffix('.png')}]({file})" for name, file in plots if name == benchmark]
    parts += _text_ability(results)
    parts += _failures(results)
    parts += _examples(results)
    parts += _what_was_run(results)
    path = folder / REPORT_FILE
    path.write_text("\n\n".join(part for part in parts if part) + "\n", encoding="utf-8")
    return path


def _summary(results: Results) -> str:
    benchmarks = unique(figure.benchmark for figure in results.figures)
    systems = unique(figure.system for figure in results.figures)
    return (
        f"{_count(len(systems), 'system')}, {_count(len(benchmarks), 'benchmark')}, {_count(len(results.conditions), 'condition')}; "
        "95 % intervals in brackets; an item without an answer counts as wrong."
    )


def _overview(results: Results, is_share: dict[str, bool]) -> str:
    """The headline figure of every system, a row a benchmark and condition; empty where a benchmark's own table says it all."""
    headlines: dict[str, str] = {}
    for figure in results.figures:
        headlines.setdefault(figure.benchmark, figure.scorer)
    overall = [f for f in results.figures if f.group == ALL and f.scorer == headlines[f.benchmark]]
    rows = [
        (benchmark, condition)
        for benchmark in headlines
        for condition in unique(figure.condition for figure in overall if figure.benchmark == benchmark)
    ]
    if len(rows) < 2:
        return ""
    systems = unique(figure.system for figure in overall)
    cells = {(figure.benchmark, figure.condition, figure.system): figure for figure in overall}
    lines = [f"| benchmark | condition | {' | '.join(systems)} |", f"|---|---|{'---|' * len(systems)}"]
    for benchmark, condition in rows:
        found = [cells.get((benchmark, condition, system)) for system in systems]
        shown = " | ".join("" if figure is None else _cell(figure, is_share[figure.scorer]) for figure in found)
        lines.append(f"| {benchmark} ({headlines[benchmark]}) | {condition} | {shown} |")
    return "\n".join(lines)


def _benchmark(results: Results, benchmark: str, is_share: dict[str, bool]) -> list[str]:
    figures = [figure for figure in results.figures if figure.benchmark == benchmark]
    overall = [figure for figure in figures if figure.group == ALL]
    conditions = unique(figure.condition for figure in overall)
    scorers = unique(figure.scorer for figure in overall)
    description = results.benchmarks.get(benchmark, {}).get("description", "")
    parts = [f"## {benchmark}", description]
    first = conditions[0]
    parts.append(f"Condition `{first}`:")
    parts.append(_table(_of(overall, condition=first), "scorer", scorers, is_share, with_counts=True))
    grouped = _of(figures, condition=first, scorer=scorers[0])
    for key in unique(figure.group.partition("=")[0] for figure in grouped if figure.group != ALL):
        of_key = [figure for figure in grouped if figure.group.startswith(f"{key}=")]
        values = unique(figure.group for figure in of_key)
        if len(values) > 1:
            parts += [f"### By {key} ({scorers[0]}, `{first}`)", _table(of_key, "group", values, is_share)]
    headline = [test for test in results.tests if (test.benchmark, test.scorer) == (benchmark, scorers[0])]
    parts += _tests([test for test in headline if _is_shown(test.condition, conditions)], is_share)
    return parts + _calibration(results, benchmark, scorers[0])


def _is_shown(condition: str, conditions: Sequence[str]) -> bool:
    """Whether the report shows tests under a condition: the first, and of several amounts of one kind all of them together."""
    kind, _, amount = condition.partition(":")
    return condition == conditions[0] or amount == ALL or f"{kind}:{ALL}" not in conditions


def _of(figures: Sequence[Figure], **wanted: str) -> list[Figure]:
    return [figure for figure in figures if all(getattr(figure, key) == value for key, value in wanted.items())]


def _table(
    figures: Sequence[Figure],
    column: str,
    columns: Sequence[str],
    is_share: dict[str, bool],
    with_counts: bool = False,
) -> str:
    """One row a system, one column a value of `column`."""
    cells = {(figure.system, getattr(figure, column)): figure for figure in figures}
    counts = " n | failed |" if with_counts else ""
    titles = [name.partition("=")[2] or name for name in columns]
    lines = [
        f"| system |{counts} {' | '.join(titles)} |",
        f"|---|{'---|---|' if with_counts else ''}{'---|' * len(columns)}",
    ]
    for system in unique(figure.system for figure in figures):
        row = [cells.get((system, name)) for name in columns]
        known = next(figure for figure in row if figure is not None)
        counted = f" {known.num_items} | {known.num_failed} |" if with_counts else ""
        shown = " | ".join("" if figure is None else _cell(figure, is_share[figure.scorer]) for figure in row)
        lines.append(f"| {system} |{counted} {shown} |")
    return "\n".join(lines)


def _cell(figure: Figure, is_share: bool) -> str:
    low, high = figure.interval.low, figure.interval.high
    return f"{_number(figure.value, is_share)} ({_number(low, is_share)} to {_number(high, is_share)})"


def _number(value: float, is_share: bool) -> str:
    return f"{100 * value:.1f} %" if is_share else f"{value:.1f}"


def _tests(tests: Sequence[PairedTest], is_share: dict[str, bool]) -> list[str]:
    if not tests:
        return []
    lines = [
        "| condition | systems | difference | p (Holm) | the second gets, the first misses |",
        "|---|---|---|---|---|",
    ]
    for test in tests:
        share = is_share[test.scorer]
        unit = 100 if share else 1
        interval = test.comparison.interval
        p_value = "" if test.corrected_p_value is None else f"{test.corrected_p_value:.3g}"
        lost = "" if test.lost is None else f"{len(test.lost.items)} of {test.comparison.num_items}"
        lines.append(
            f"| {test.condition} | {test.first} - {test.second} | "
            f"{unit * test.comparison.difference:+.1f} ({unit * interval.low:+.1f} to {unit * interval.high:+.1f}) | {p_value} | {lost} |"
        )
    parts = [
        f"### Paired tests ({tests[0].scorer})",
        "\n".join(lines),
        "The file results.json has the tests of other scorers and of each value of a condition; p-values are corrected for all of them.",
    ]
    for test in tests:
        if test.lost is not None and test.lost.items and len(test.lost.by_group) > 2:
            shares = [
                f"{group.partition('=')[2]} {lost}/{total}"
                for group, (lost, total) in test.lost.by_group.items()
                if group != ALL
            ]
            parts.append(
                f"{test.first} misses what {test.second} gets ({test.condition}), by group: {', '.join(shares)}."
            )
    return parts


def _calibration(results: Results, benchmark: str, scorer: str) -> list[str]:
    found = [row for row in results.calibrations if (row.benchmark, row.scorer) == (benchmark, scorer)]
    if not found:
        return []
    lines = ["| system | condition | n | expected error | right ones surer than wrong ones |", "|---|---|---|---|---|"]
    for row in found:
        low, high = row.interval
        separated = "" if row.separation is None else f"{row.separation:.1%}"
        lines.append(
            f"| {row.system} | {row.condition} | {row.num_items} | {row.expected_error:.3f} ({low:.3f} to {high:.3f}) | {separated} |"
        )
    return [
        f"### Calibration ({scorer})",
        "Confidence is the geometric mean of an answer's token probabilities.",
        "\n".join(lines),
    ]


def _text_ability(results: Results) -> list[str]:
    return [
        f"**Text**: without audio, the logits of {system} equal its base LLM's bit for bit on {found['prompts_equal']} of {found['prompts']} "
        f"prompts ({found['dtype']}; largest difference {found['largest_difference']:g})."
        for system, found in results.text_ability.items()
    ]


def _failures(results: Results) -> list[str]:
    if not results.failures:
        return []
    lines = ["| system | benchmark | condition | item | why |", "|---|---|---|---|---|"]
    for failure in results.failures[:MAX_FAILURES]:
        lines.append(
            f"| {failure['system']} | {failure['benchmark']} | {failure['condition']} | {failure['item']} | {_short(failure['error'])} |"
        )
    more = len(results.failures) - MAX_FAILURES
    return ["## Items without an answer", "\n".join(lines), f"{more} more in results.json." if more > 0 else ""]


def _examples(results: Results) -> list[str]:
    if not results.examples:
        return []
    lines = ["| system | recording | true | answered |", "|---|---|---|---|"]
    lines += [
        f"| {row['system']} | [{row['item']}]({row['audio']}) | {_short(row['true'])} | {_short(row['answer'])} |"
        for row in results.examples
    ]
    return ["## Wrong answers", "The first of each system and benchmark.", "\n".join(lines)]


def _short(text: str, length: int = 160) -> str:
    """The beginning of a text, as one cell of a table."""
    words = " ".join(text.split()).replace("|", "\\|")
    return words if len(words) <= length else f"{words[: length - 3]}..."


def _what_was_run(results: Results) -> list[str]:
    parts = ["## What was run", "\n".join(f"- {name}: {value}" for name, value in results.facts.items())]
    for title in ("systems", "benchmarks", "conditions", "scorers"):
        found = getattr(results, title)
        lines = [
            f"- {name}: `{json.dumps(_to_read(identity), ensure_ascii=False)}`" for name, identity in found.items()
        ]
        parts += [f"{title.capitalize()}:", "\n".join(lines)]
    return parts


def _to_read(value: Any) -> Any:
    """An identity without folders of this machine and without the body of long fingerprints; results.json has all of it."""
    if isinstance(value, dict):
        return {key: _to_read(part) for key, part in value.items()}
    if isinstance(value, str) and Path(value).is_absolute():
        return Path(value).name
    if isinstance(value, str) and len(value) > LONGEST_SHOWN and " " not in value:
        return f"{value[:16]}..."
    return value


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
