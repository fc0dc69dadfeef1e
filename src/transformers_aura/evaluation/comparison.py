"""Evaluations that were run apart, in one table with paired tests."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..folder_lock import lock_folder
from ..whole_files import files_together
from .figures import ScoredRun
from .results import Results
from .summary import read_scores, summarize


def compare_evaluations(folders: Sequence[Path], out: Path, seed: int = 0) -> Results:
    """One report of all systems of several evaluations.

    Systems of one name in two evaluations get the folder's name before theirs, unless they are the same system with the same answers.

    Args:
        folders: what `aura evaluate --out` named.
        out: gets the report.
        seed: of the bootstrap.

    Raises:
        FileNotFoundError: a folder holds no evaluation.
        ValueError: fewer than two folders, or two systems were asked other items of the same benchmark, or its rows at other commits.
    """
    if len(folders) < 2:
        raise ValueError(f"A comparison needs two evaluations or more, got {len(folders)}.")
    return merge_evaluations(folders, out, seed)


def merge_evaluations(folders: Sequence[Path], out: Path, seed: int = 0) -> Results:
    """As [`compare_evaluations`], of one evaluation or more: parts of one measurement, say, that ran under different conditions."""
    loaded = [(folder, Results.load(folder)) for folder in folders]
    merged = Results(facts={"seed": seed, "compared": [folder.name for folder in folders]})
    runs: dict[tuple[str, str, str, str], ScoredRun] = {}
    for folder, results in loaded:
        names = {
            name: name if merged.systems.get(name, identity) == identity else f"{folder.name}/{name}"
            for name, identity in results.systems.items()
        }
        for name, identity in results.systems.items():
            if merged.systems.get(names[name], identity) != identity:
                raise ValueError(
                    f"Two folders are called '{folder.name}', and their systems '{name}' differ: rename one."
                )
        merged.systems |= {names[name]: identity for name, identity in results.systems.items()}
        _check_commits(merged.benchmarks, results.benchmarks)
        merged.benchmarks = {**results.benchmarks, **merged.benchmarks}
        merged.conditions = {**results.conditions, **merged.conditions}
        merged.scorers = {**results.scorers, **merged.scorers}
        merged.failures += [{**failure, "system": names[failure["system"]]} for failure in results.failures]
        merged.examples += [
            {**row, "system": names[row["system"]], "audio": os.path.relpath(folder / row["audio"], out)}
            for row in results.examples
        ]
        merged.text_ability |= {names[name]: found for name, found in results.text_ability.items()}
        for run in read_scores(folder, results.scorers):
            key = (names[run.system], run.benchmark, run.condition, run.scorer.name)
            runs.setdefault(key, replace(run, system=names[run.system]))
    with lock_folder(out, "an evaluation"), files_together(out) as staging:
        summarize(merged, list(runs.values()), staging, seed)
    return merged


def _check_commits(known: dict[str, dict[str, Any]], more: dict[str, dict[str, Any]]) -> None:
    for name in known.keys() & more.keys():
        commits = [origins[name].get("commit") for origins in (known, more)]
        if None not in commits and commits[0] != commits[1]:
            raise ValueError(
                f"{name} was read at commit {commits[0]} in one evaluation and at {commits[1]} in another: run one again with --revision."
            )
