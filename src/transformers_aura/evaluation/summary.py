"""From scored runs to what is kept and read: figures, paired tests, `scores.jsonl`, `results.json`, `results.md` and pictures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from itertools import combinations
from pathlib import Path
from typing import Any

from .calibration import calibration_of
from .figures import ALL, ScoredItem, ScoredRun, lost_items
from .plots import draw_plots
from .report import write_report
from .results import PairedTest, Results
from .scorers import Scorer
from .scorers.registry import scorer as scorer_by_name
from .statistics import holm
from .trainings import trainings_together, without_single_trainings


SCORES_FILE = "scores.jsonl"


def summarize(results: Results, runs: Sequence[ScoredRun], folder: Path, seed: int = 0) -> None:
    """Makes all figures and tests of `runs`, puts them into `results` in the place of earlier ones, and writes everything into `folder`."""
    with_trainings = [*runs, *trainings_together(runs)]
    all_runs = [*with_trainings, *pooled(with_trainings)]
    results.figures = [figure for run in all_runs for figure in run.figures(seed)]
    results.tests = paired_tests(all_runs, seed)
    results.calibrations = [found for run in runs if (found := calibration_of(run, seed)) is not None]
    results.save(folder)
    write_scores(runs, folder)
    is_share = {run.scorer.name: run.scorer.is_share for run in runs}
    write_report(results, folder, is_share, draw_plots(results, folder, is_share))


def pooled(runs: Sequence[ScoredRun]) -> list[ScoredRun]:
    """Of each system, all amounts of one condition together (`"noise:all"` for noise at 6, 12 and 18 dB), where there are several.

    What is made of one recording is not independent, and keeps its cluster.
    """
    alike: dict[tuple[str, str, str, str], list[ScoredRun]] = {}
    for run in runs:
        kind, _, amount = run.condition.partition(":")
        if amount:
            alike.setdefault((run.system, run.benchmark, kind, run.scorer.name), []).append(run)
    return [
        replace(of_kind[0], condition=f"{kind}:{ALL}", items=tuple(item for run in of_kind for item in run.items))
        for (_, _, kind, _), of_kind in alike.items()
        if len(of_kind) > 1
    ]


def paired_tests(runs: Sequence[ScoredRun], seed: int = 0) -> list[PairedTest]:
    """Every system against every other wherever both were asked and scored alike; p-values corrected for the number of tests (Holm).

    A system whose trainings stand together is tested as that, its trainings alone are not.
    """
    alike: dict[tuple[str, str, str], list[ScoredRun]] = {}
    shown = without_single_trainings([run.system for run in runs])
    for run in (run for run in runs if run.system in shown):
        alike.setdefault((run.benchmark, run.condition, run.scorer.name), []).append(run)
    tests = [_test(first, second, seed) for of_one in alike.values() for first, second in combinations(of_one, 2)]
    tested = [index for index, test in enumerate(tests) if test.comparison.p_value is not None]
    corrected = holm([tests[index].comparison.p_value or 0.0 for index in tested])
    for index, p_value in zip(tested, corrected, strict=True):
        tests[index] = replace(tests[index], corrected_p_value=p_value)
    return tests


def _test(first: ScoredRun, second: ScoredRun, seed: int) -> PairedTest:
    comparison = first.compare(second, seed)
    has_items = first.scorer.is_share and not (first.has_trainings or second.has_trainings)
    lost = lost_items(second, first) if has_items else None
    return PairedTest(
        first.benchmark,
        first.condition,
        first.scorer.name,
        first.system,
        second.system,
        comparison,
        lost=lost,
    )


def write_scores(runs: Sequence[ScoredRun], folder: Path) -> Path:
    """Writes what every item scored, an item a line."""
    path = folder / SCORES_FILE
    with path.open("w", encoding="utf-8") as file:
        for run in runs:
            where = [run.system, run.benchmark, run.condition, run.scorer.name]
            for item in run.items:
                file.write(json.dumps({"run": where, **asdict(item)}, ensure_ascii=False) + "\n")
    return path


def read_scores(folder: Path, scorers: dict[str, dict[str, Any]]) -> list[ScoredRun]:
    """The runs that [`write_scores`] wrote.

    Args:
        folder: of an evaluation.
        scorers: identities by name, as the evaluation's results have them; this version's scorers must have the same.

    Raises:
        FileNotFoundError: there are none.
        ValueError: a scorer has changed since, or a line holds no score.
    """
    path = folder / SCORES_FILE
    if not path.is_file():
        raise FileNotFoundError(f"{folder} holds no {SCORES_FILE}: is it the --out folder of an evaluation?")
    items: dict[tuple[str, ...], list[ScoredItem]] = {}
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            row = json.loads(line)
            system, benchmark, condition, scorer = row.pop("run")
            statistics = tuple(float(value) for value in row["statistics"])
            scored = ScoredItem(**{**row, "groups": tuple(row["groups"]), "statistics": statistics})
            _ = scorers[scorer], hash(scored), row["item"] + row["cluster"]
            items.setdefault((system, benchmark, condition, scorer), []).append(scored)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ValueError(
                f"{path}, line {number}, holds no score of this evaluation ({type(error).__name__}: {error}). Run `aura evaluate` there again."
            ) from error
    return [
        ScoredRun(system, benchmark, condition, _same_scorer(scorer, scorers[scorer], folder), tuple(scored))
        for (system, benchmark, condition, scorer), scored in items.items()
    ]


def _same_scorer(name: str, identity: dict[str, Any], folder: Path) -> Scorer:
    of_languages = [scorer_by_name(name), scorer_by_name(name, None)]
    scorer = next((each for each in of_languages if json.loads(json.dumps(each.identity)) == identity), None)
    if scorer is None:
        raise ValueError(
            f"{folder} was scored by another version of '{name}' ({identity}, here {of_languages[0].identity}). Run `aura evaluate` there again: "
            "its answers are kept, only the scoring is done anew."
        )
    return scorer
