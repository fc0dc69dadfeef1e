"""What an evaluation found, and its JSON file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..processing.manifests import describe
from .calibration import Calibration, CalibrationBin
from .figures import ALL, Figure, Lost
from .statistics import Comparison, Interval


RESULTS_FILE = "results.json"
FORMAT = 1


@dataclass(frozen=True)
class PairedTest:
    """Two systems on the same items under the same condition.

    Attributes:
        first, second: the systems.
        comparison: the difference, first minus second.
        corrected_p_value: Holm's, over all tests of the results.
        lost: what the second gets and the first misses, where the figure has items that are right.
    """

    benchmark: str
    condition: str
    scorer: str
    first: str
    second: str
    comparison: Comparison
    corrected_p_value: float | None = None
    lost: Lost | None = None


@dataclass
class Results:
    """Figures of systems on benchmarks.

    Attributes:
        facts: seed, limit and versions.
        systems, benchmarks, conditions, scorers: their identities, by name.
        figures: all of them.
        tests: between systems.
        failures: items without an answer, `{"system", "benchmark", "condition", "item", "error"}`.
        text_ability: see `compare_text_logits`, by student.
        examples: wrong answers, see `write_examples`.
        calibrations: of systems that say how sure they are.
    """

    facts: dict[str, Any] = field(default_factory=dict)
    systems: dict[str, dict[str, Any]] = field(default_factory=dict)
    benchmarks: dict[str, dict[str, Any]] = field(default_factory=dict)
    conditions: dict[str, dict[str, Any]] = field(default_factory=dict)
    scorers: dict[str, dict[str, Any]] = field(default_factory=dict)
    figures: list[Figure] = field(default_factory=list)
    tests: list[PairedTest] = field(default_factory=list)
    failures: list[dict[str, str]] = field(default_factory=list)
    text_ability: dict[str, dict[str, Any]] = field(default_factory=dict)
    examples: list[dict[str, str]] = field(default_factory=list)
    calibrations: list[Calibration] = field(default_factory=list)

    def select(self, **wanted: str) -> Iterator[Figure]:
        """Figures whose fields have these values; `group` is [`ALL`] unless it is given."""
        wanted.setdefault("group", ALL)
        return (
            figure for figure in self.figures if all(getattr(figure, key) == value for key, value in wanted.items())
        )

    def save(self, folder: Path) -> Path:
        """Writes `results.json`."""
        path = folder / RESULTS_FILE
        path.write_text(json.dumps({"format": FORMAT, **asdict(self)}, indent=1, ensure_ascii=False) + "\n", "utf-8")
        return path

    @classmethod
    def load(cls, folder: Path) -> Results:
        """What [`save`] wrote.

        Raises:
            FileNotFoundError: `folder` holds no results.
            ValueError: they are of another format, or no results.
        """
        path = folder / RESULTS_FILE
        if not path.is_file():
            raise FileNotFoundError(f"{folder} holds no {RESULTS_FILE}: is it the --out folder of an evaluation?")
        try:
            content = json.loads(path.read_text("utf-8"))
            written_as = content.pop("format", None)
            results = cls._from_content(content) if written_as == FORMAT else None
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ValueError(
                f"{path} does not hold what an evaluation writes ({type(error).__name__}: {error}). Run the evaluation again, or restore the file."
            ) from error
        if results is None:
            raise ValueError(
                f"{path} was written by another version of this package (format {describe(written_as)}, here {FORMAT}): run the evaluation again."
            )
        return results

    @classmethod
    def _from_content(cls, content: dict[str, Any]) -> Results:
        """Of the JSON object; any error where it has another shape."""
        for name, value in asdict(cls()).items():
            if type(content[name]) is not type(value):
                raise TypeError(f"'{name}' is {describe(content[name])}")
        for name in ("systems", "benchmarks", "conditions", "scorers", "text_ability"):
            for key, identity in content[name].items():
                if not isinstance(identity, dict):
                    raise TypeError(f"'{name}.{key}' is {describe(identity)}")
        content["failures"] = [
            _strings(row, ("system", "benchmark", "condition", "item", "error")) for row in content["failures"]
        ]
        content["examples"] = [
            _strings(row, ("system", "benchmark", "condition", "item", "audio")) for row in content["examples"]
        ]
        content["figures"] = [_figure(figure) for figure in content["figures"]]
        content["calibrations"] = [
            Calibration(
                **{
                    **row,
                    "interval": tuple(row["interval"]),
                    "bins": tuple(CalibrationBin(**part) for part in row["bins"]),
                }
            )
            for row in content["calibrations"]
        ]
        content["tests"] = [_test_from(test) for test in content["tests"]]
        return cls(**content)


def _figure(content: dict[str, Any]) -> Figure:
    numbers = {"value": (int, float), "num_items": (int,), "num_failed": (int,)}
    for name, kinds in numbers.items():
        if type(content[name]) not in kinds:
            raise TypeError(f"'{name}' of a figure is {describe(content[name])}")
    return Figure(**{**content, "interval": Interval(**content["interval"])})


def _strings(row: dict[str, str], needed: tuple[str, ...]) -> dict[str, str]:
    for name in needed:
        if not isinstance(row[name], str):
            raise TypeError(f"'{name}' is {describe(row[name])}")
    return row


def earlier_commits(folder: Path) -> dict[str, str]:
    """At which commit each benchmark from the Hub was read by the evaluation that lies in `folder`; empty where there is none of this version."""
    try:
        found = Results.load(folder).benchmarks
    except (FileNotFoundError, ValueError):
        return {}
    return {name: origin["commit"] for name, origin in found.items() if origin.get("commit")}


def _test_from(content: dict[str, Any]) -> PairedTest:
    comparison = content["comparison"]
    lost = content["lost"]
    return PairedTest(
        **{
            **content,
            "comparison": Comparison(**{**comparison, "interval": Interval(**comparison["interval"])}),
            "lost": lost
            and Lost(lost["items"], {group: (lost_, all_) for group, (lost_, all_) in lost["by_group"].items()}),
        }
    )


def unique(values: Iterable[str]) -> list[str]:
    """Each value once, in the order of its first appearance."""
    return list(dict.fromkeys(values))
