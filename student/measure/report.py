"""What a measurement found: `results.json` with every raw generation, `results.md` to read, and the first failures to listen to."""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import soundfile

from student.measure.figures import Figure, Scored, as_row
from student.recordings import SAMPLING_RATE


MAX_FAILURES = 10

CASE_SETS = {
    "orders": (
        "Orders by real people, recordings that training did not have. The public source does not say who speaks, so a voice may be among "
        "the training's. An order is right if every labelled slot is (stricter: and nothing else is answered)."
    ),
    "noise": (
        "The same recordings with kitchen noise mixed in, from seconds of the noise recording that training did not have. Ratio of the speech's power "
        "where somebody speaks to the noise's."
    ),
    "questions": (
        "Questions on US civics by six synthetic voices that training did not have. An answer is right if its first sentence contains an accepted "
        "one, after normalisation: training's answers have one sentence. Only questions that the same LLM answers right from the true text count: hearing cannot add knowledge."
    ),
    "reading": "Read English by people of no corpus of ours: sentences of an audio book and playing cards.",
}
"""What each case set is, and how it is scored."""


@dataclass
class Results:
    """Everything of one measurement.

    Attributes:
        facts: seed, dtype, scorer versions and how many cases there were.
        systems: the identity of every system, by its name.
        figures: of every system on every case set.
        scored: the answers behind them.
        text_ability: see `compare_text_logits`; `None` where no student was measured.
    """

    facts: dict[str, Any]
    systems: dict[str, dict[str, Any]]
    figures: dict[tuple[str, str], list[Figure]] = field(default_factory=dict)
    scored: dict[tuple[str, str], list[Scored]] = field(default_factory=dict)
    text_ability: dict[str, Any] | None = None

    def add(self, case_set: str, system: str, figures: list[Figure], scored: list[Scored]) -> None:
        """Takes up one system's figures on one case set, and its answers."""
        self.figures[case_set, system], self.scored[case_set, system] = figures, scored

    def case_sets(self) -> list[str]:
        """The case sets with answers, in the order in which they were added."""
        return list(dict.fromkeys(case_set for case_set, _ in self.scored))


def write_results(results: Results, folder: Path) -> None:
    """Writes `results.json`, `results.md` and the recordings of the failures that it shows into `folder`, in place of those of an earlier one."""
    (folder / "failures").mkdir(parents=True, exist_ok=True)
    shown = {
        recording_of_failure(item): item for scored in results.scored.values() for item in _shown_failures(scored)
    }
    for path in (folder / "failures").glob("*.flac"):
        if f"failures/{path.name}" not in shown:
            path.unlink()
    for name, item in shown.items():
        soundfile.write(folder / name, item.case.load(), SAMPLING_RATE, format="FLAC")
    content = {
        **results.facts,
        "systems": results.systems,
        "text_ability": results.text_ability,
        "results": [
            {
                "cases": case_set,
                "system": system,
                "figures": [asdict(figure) for figure in results.figures[case_set, system]],
                "answers": [as_row(item) for item in scored],
            }
            for (case_set, system), scored in results.scored.items()
        ],
    }
    for name, text in (("results.json", json.dumps(content, indent=1)), ("results.md", as_markdown(results))):
        partial = folder / f".{name}.partial"
        partial.write_text(text + "\n")
        partial.replace(folder / name)


def as_markdown(results: Results) -> str:
    """One table of all figures by all systems, the text ability, the failures of each case set, and what was run."""
    parts = ["# What was measured", _table(results)]
    for case_set in results.case_sets():
        parts.append(f"**{case_set}**: {CASE_SETS[case_set]}")
    if results.text_ability is not None:
        found = results.text_ability
        parts.append(
            f"**Text**: the student's logits equal the base LLM's bit for bit on {found['prompts_equal']} of {found['prompts']} "
            f"prompts ({found['dtype']}; largest difference {found['largest_difference']:g})."
        )
    parts.append("## Failures")
    for (case_set, system), scored in results.scored.items():
        parts.append(_failures(case_set, system, scored))
    parts.append("## What was run")
    parts.append("\n".join(f"- {name}: {value}" for name, value in results.facts.items()))
    parts.append("\n".join(f"- {name}: `{json.dumps(identity)}`" for name, identity in results.systems.items()))
    return "\n\n".join(part for part in parts if part)


def _table(results: Results) -> str:
    systems = list(dict.fromkeys(system for _, system in results.scored))
    rows: dict[tuple[str, str], dict[str, Figure]] = {}
    for (case_set, system), figures in results.figures.items():
        for figure in figures:
            rows.setdefault((case_set, figure.name), {})[system] = figure
    lines = [
        f"| cases | figure | n | {' | '.join(systems)} |",
        f"|---|---|---|{'---|' * len(systems)}",
    ]
    for (case_set, name), by_system in rows.items():
        sizes = sorted({figure.n for figure in by_system.values()})
        cells = [_cell(by_system[system]) if system in by_system else "" for system in systems]
        lines.append(f"| {case_set} | {name} | {', '.join(map(str, sizes))} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n\n95 % intervals in brackets."


def _cell(figure: Figure) -> str:
    low, high = figure.interval
    return f"{figure.value:.1%} ({low:.1%} to {high:.1%})"


def _failures(case_set: str, system: str, scored: Sequence[Scored]) -> str:
    failures = [item for item in scored if not item.is_right]
    if not failures:
        return ""
    lines = [f"### {case_set}, {system}: {len(failures)} of {len(scored)} not entirely right", ""]
    lines += ["| case | true | answered |", "|---|---|---|"]
    lines += [
        f"| [{item.case.name}]({recording_of_failure(item)}) | {_short(_truth(item))} | {_short(item.answer)} |"
        for item in _shown_failures(scored)
    ]
    return "\n".join(lines)


def _shown_failures(scored: Sequence[Scored]) -> list[Scored]:
    return [item for item in scored if not item.is_right][:MAX_FAILURES]


def recording_of_failure(item: Scored) -> str:
    """Where the recording of a failure lies, relative to the results."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", item.case.name).removesuffix(".flac")
    return f"failures/{name}.flac"


def _truth(item: Scored) -> str:
    truth = item.case.truth
    return truth if isinstance(truth, str) else json.dumps(truth)


def _short(text: str, length: int = 160) -> str:
    """The beginning of a text, as one cell of a Markdown table."""
    words = " ".join(text.split()).replace("|", "\\|")
    return words if len(words) <= length else f"{words[: length - 3]}..."
