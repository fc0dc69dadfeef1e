"""The run of an evaluation: systems are asked, answers are scored, figures are tested against each other and written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from ..folder_lock import lock_folder
from ..whole_files import files_together
from .asking import ask, can_be_asked
from .benchmarks import LoadedBenchmark
from .conditions import Condition
from .examples import Example, write_examples
from .figures import ScoredRun, score
from .generations import Generation
from .results import Results
from .scorers import Scorer
from .scorers.registry import scorer as scorer_by_name
from .summary import summarize
from .systems.identity import identity_hash
from .systems.interface import System


GENERATIONS = "generations"


@dataclass
class Evaluation:
    """Systems on benchmarks under conditions.

    The first condition is the one that groups and the main table show; a control, `shuffled`, is scored like any other. Where a system
    reads what is said (`gold`), each item is also counted in the group of those that it gets right: listening adds no knowledge.

    Args:
        systems: with names of their own.
        benchmarks: what they are asked.
        conditions: how the recordings are changed before they are given to the systems.
        folder: gets `generations/`, `scores.jsonl`, `results.json`, `results.md` and pictures. Answers that lie there are not asked for again.
        scorers: used in place of the benchmarks' own.
        batch_size: requests at once.
        seed: of the bootstrap.
        language: of what is said, for the scorers that normalise texts, see [`~evaluation.scorers.registry.scorer`].
        num_examples: wrong answers of each system to each benchmark that the report shows, with their recordings.
        facts: more for the results' `facts`.

    Raises:
        ValueError: two systems have the same name, or no system can be asked a benchmark's items.
        MissingExtraError: a scorer's library is not installed.
    """

    systems: Sequence[System]
    benchmarks: Sequence[LoadedBenchmark]
    conditions: Sequence[Condition]
    folder: Path
    scorers: Sequence[Scorer] | None = None
    batch_size: int = 16
    seed: int = 0
    language: str | None = "en"
    num_examples: int = 5
    facts: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        names = [system.name for system in self.systems]
        _check_names("systems", names, "give them names, as in 'first={0}'")
        of_benchmarks = [loaded.benchmark.name for loaded in self.benchmarks]
        _check_names("benchmarks", of_benchmarks, "rename a folder or manifest, or leave one out")
        _check_names("conditions", [str(condition) for condition in self.conditions], "leave one out")
        _check_names("scorers", [scorer.name for scorer in self.scorers or ()], "leave one out")
        for loaded in self.benchmarks:
            for scorer in self._scorers_of(loaded):
                _ = scorer.identity  # what it needs is missing now rather than when all is answered
            if not any(can_be_asked(system, loaded.items) for system in self.systems):
                raise ValueError(
                    f"None of {', '.join(names)} can be asked the items of {loaded.benchmark.name} ({loaded.items[0].task})."
                )

    def num_requests(self) -> int:
        """How many items will be asked, over all systems and conditions."""
        return sum(
            len(loaded.items) * len(self.conditions)
            for loaded in self.benchmarks
            for system in self.systems
            if can_be_asked(system, loaded.items)
        )

    def run(
        self,
        on_answer: Callable[[str], None] = lambda what: None,
        text_ability: dict[str, dict[str, Any]] | None = None,
    ) -> Results:
        """Asks, scores and writes; after each benchmark what is known so far is on disk.

        Args:
            on_answer: called once an item with what is being asked.
            text_ability: of students, for the results.

        Raises:
            FolderInUseError: another evaluation writes into the folder.
            EvaluationError: a system answered nothing at all, or no recording of a benchmark can be read.
        """
        with lock_folder(self.folder, "an evaluation"):
            return self._run(on_answer, text_ability or {})

    def _run(self, on_answer: Callable[[str], None], text_ability: dict[str, dict[str, Any]]) -> Results:
        results = Results(
            facts={"seed": self.seed, "batch_size": self.batch_size, **(self.facts or {})},
            systems={system.name: system.identity for system in self.systems},
            conditions={str(condition): condition.identity for condition in self.conditions},
            text_ability=text_ability,
        )
        runs: list[ScoredRun] = []
        examples: list[Example] = []
        for loaded in self.benchmarks:
            benchmark = loaded.benchmark
            scorers = self._scorers_of(loaded)
            results.benchmarks[benchmark.name] = {
                "description": benchmark.description,
                "num_items": len(loaded.items),
                **loaded.origin,
            }
            results.scorers |= {scorer.name: scorer.identity for scorer in scorers}
            for condition in self.conditions:
                answers = self._ask_all(loaded, condition, results, on_answer)
                of_condition = [
                    score(system, benchmark.name, str(condition), loaded.items, given, scorer)
                    for system, given in answers.items()
                    for scorer in scorers
                ]
                runs += self._with_gold_groups(of_condition)
                if condition is self.conditions[0]:
                    first = [run for run in of_condition if run.scorer is scorers[0]]
                    examples += self._examples(loaded, condition, first, answers)
            with files_together(self.folder) as staging:
                results.examples = write_examples(examples, staging)
                summarize(results, runs, staging, self.seed)
        return results

    def _scorers_of(self, loaded: LoadedBenchmark) -> list[Scorer]:
        return list(self.scorers or [scorer_by_name(name, self.language) for name in loaded.benchmark.scorers])

    def _ask_all(
        self, loaded: LoadedBenchmark, condition: Condition, results: Results, on_answer: Callable[[str], None]
    ) -> dict[str, dict[str, Generation]]:
        """The answers of every system that can be asked, by system and item."""
        name = loaded.benchmark.name
        answers = {}
        for system in self.systems:
            if not can_be_asked(system, loaded.items):
                continue
            what = f"{system.name}: {name}, {condition}"
            asked = condition.without_sound() if system.needs_text else condition
            file = f"{str(asked).replace(':', '_')}.jsonl"
            path = self.folder / GENERATIONS / f"{system.name}-{identity_hash(system.identity)}" / name / file
            answers[system.name] = ask(system, loaded.items, asked, path, self.batch_size, partial(on_answer, what))
            results.failures += [
                {
                    "system": system.name,
                    "benchmark": name,
                    "condition": str(condition),
                    "item": item,
                    "error": answer.error,
                }
                for item, answer in answers[system.name].items()
                if answer.error is not None
            ]
        return answers

    def _with_gold_groups(self, runs: Sequence[ScoredRun]) -> list[ScoredRun]:
        """The runs, each item also in the group of those that the system that gets the true text answers right, or wrong."""
        on_text = next((system.name for system in self.systems if system.needs_text), None)
        gold = next((run for run in runs if run.system == on_text), None)
        if on_text is None or gold is None:
            return list(runs)
        marks = [f"{on_text}={'right' if right else 'wrong'}" for right in gold.is_right()]
        return [
            replace(
                run,
                items=tuple(
                    replace(item, groups=(*item.groups, mark)) for item, mark in zip(run.items, marks, strict=True)
                ),
            )
            for run in runs
        ]

    def _examples(
        self,
        loaded: LoadedBenchmark,
        condition: Condition,
        runs: Sequence[ScoredRun],
        answers: Mapping[str, Mapping[str, Generation]],
    ) -> list[Example]:
        """The first wrong answers of every system."""
        found = []
        for run in runs:
            wrong = [item for item, is_right in zip(loaded.items, run.is_right(), strict=True) if not is_right]
            found += [
                Example(run.system, run.benchmark, str(condition), item, answers[run.system][item.name].answer)
                for item in wrong[: self.num_examples]
                if answers[run.system][item.name].error is None
            ]
        return found


def _check_names(kind: str, names: Sequence[str], advice: str) -> None:
    """That each is another, and can be the name of a file."""
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"Two {kind} are called '{name}': {advice.format(name)}.")
        if name in ("", ".", "..") or "/" in name or "\\" in name:
            raise ValueError(
                f"'{name}' cannot be one of the {kind}: files are named after it, so it has no slash and is not empty."
            )
