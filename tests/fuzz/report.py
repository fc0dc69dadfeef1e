"""The counts of a campaign as a table, and the page that holds it."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from tests.fuzz.campaign import FAULTS, Area, Tally
from tests.fuzz.counting_faults import COUNTED


CAMPAIGN, FAULT_TESTS = "campaign", "fault tests"


def table(areas: Mapping[str, Area], tallies: Mapping[str, Tally]) -> str:
    """A Markdown table, one row an area and one for all."""
    columns = ("answered", "refused", *FAULTS)
    lines = ["| inputs of | asked | " + " | ".join(columns) + " |", "|---" * (len(columns) + 2) + "|"]
    for name, tally in tallies.items():
        counts = " | ".join(str(tally.counts[column]) for column in columns)
        lines.append(f"| {areas[name].what} | {tally.inputs} | {counts} |")
    totals = " | ".join(str(sum(tally.counts[column] for tally in tallies.values())) for column in columns)
    lines.append(f"| all | {sum(tally.inputs for tally in tallies.values())} | {totals} |")
    return "\n".join(lines)


def fault_tests(tests: Path) -> Counter[str]:
    """How many tests inject a fault, by area: those with the marker `fault`."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-qq", "-p", "tests.fuzz.counting_faults", str(tests)]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return Counter(json.loads(output.partition(COUNTED)[2].partition("\n")[0]))


def write_page(page: Path, areas: Mapping[str, Area], tallies: Mapping[str, Tally], seed: int) -> None:
    """Fill the counts into `page`, each between its two marks."""
    asked = sum(tally.inputs for tally in tallies.values())
    minutes = sum(tally.seconds for tally in tallies.values()) / 60
    made = f"Seed {seed}, {asked} inputs, {minutes:.0f} minutes, Python {platform.python_version()}."
    text = _filled(page.read_text(encoding="utf-8"), CAMPAIGN, f"{made}\n\n{table(areas, tallies)}")
    counts = fault_tests(Path(__file__).resolve().parents[1])
    rows = [f"| {area} | {count} |" for area, count in sorted(counts.items())]
    rows.append(f"| all | {counts.total()} |")
    page.write_text(
        _filled(text, FAULT_TESTS, "\n".join(["| faults of | tests |", "|---|---|", *rows])), encoding="utf-8"
    )


def _filled(text: str, mark: str, content: str) -> str:
    begin, end = f"<!-- {mark}: begin -->", f"<!-- {mark}: end -->"
    before, found, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    if not found:
        raise ValueError(f"The page has no mark {begin!r}.")
    return f"{before}{begin}\n{content}\n{end}{after}"
