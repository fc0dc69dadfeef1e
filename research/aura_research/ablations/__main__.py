"""Trains the student in many small variants and reports which settings matter.

    python -m aura_research.ablations outputs/corpus --only supervision --seeds 0 1 2
    python -m aura_research.ablations outputs/corpus --only lora_scope rank --publish research/docs/ablations-structure.md

The first reports in outputs/ablations/ablations.md. The second runs nothing: it adds what is done to research/docs/ablations-structure/runs.jsonl, and
makes the page of all that is there of these groups.

`arms.yaml` lists groups and arms, `recipe.yaml` is what they change. Two runs at a time, each on a core of its own. A run that was killed goes
on when the same command is given again, and a finished one is not run again.
"""

import argparse
import signal
import sys
from pathlib import Path

from aura_research.ablations.arms import ARMS, RECIPE, AblationError, load_groups, select_groups
from aura_research.ablations.plan import Budget, plan_runs, write_specs
from aura_research.ablations.report import write_report
from aura_research.ablations.results import RUNS, load_results, publish
from aura_research.ablations.runner import run_all
from aura_research.places import SHARED_DATA
from transformers_aura.distillation.recipe import RecipeError


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m aura_research.ablations", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument(
        "corpus", type=Path, help="folder of `python -m aura_research.corpus`, with the parts that the groups learn"
    )
    parser.add_argument("--out", type=Path, default=Path("outputs/ablations"))
    parser.add_argument("--only", nargs="+", metavar="GROUP", help="groups to run and to report; default: all")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--steps", type=int, help="of every run; default: the recipe's")
    budget.add_argument("--minutes", type=float, help="of training of every run, instead of steps")
    parser.add_argument(
        "--scorings", type=int, default=Budget.num_checks, help="how often a student is asked for all orders; 0: never"
    )
    parser.add_argument(
        "--evaluations",
        type=int,
        default=Budget.num_evaluations,
        help="how often the losses of the validation clips are taken",
    )
    parser.add_argument(
        "--set", nargs="+", default=[], metavar="KEY=VALUE", help="change the recipe of all arms alike"
    )
    parser.add_argument("--at-once", type=int, default=2, help="runs at a time")
    parser.add_argument(
        "--recordings",
        type=Path,
        default=SHARED_DATA / "barista",
        help="recorded orders to score on, with manifest.jsonl",
    )
    parser.add_argument("--recipe", type=Path, default=RECIPE, help="what the arms change")
    parser.add_argument("--arms", type=Path, default=ARMS, help="groups and arms")
    parser.add_argument(
        "--publish",
        type=Path,
        metavar="PAGE",
        help="run nothing; make this page of what is done, and keep the runs beside it",
    )
    parsed = parser.parse_args(arguments)
    if (parsed.steps is not None and parsed.steps < 1) or (parsed.minutes is not None and parsed.minutes <= 0):
        parser.error("--steps and --minutes must be above 0.")
    return parsed


def main(arguments: list[str] | None = None) -> int:
    """Runs and reports. Returns 1 if a run failed or something is wrong with the settings."""
    parsed = parse_arguments(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the runs end with this process
    failed = []
    out = parsed.out.resolve()
    try:
        groups = select_groups(load_groups(parsed.arms), parsed.only)
        if parsed.publish is None:
            budget = Budget(parsed.steps, parsed.minutes, parsed.scorings, parsed.evaluations)
            runs = plan_runs(
                groups,
                parsed.seeds,
                parsed.corpus.resolve(),
                parsed.recordings.resolve(),
                budget,
                parsed.recipe.resolve(),
                parsed.set,
            )
            write_specs(out, runs)
            failed = run_all(out, runs, parsed.at_once)
        report = parsed.publish or out / "ablations.md"
        runs_of_groups = [arm.run for group in groups for arm in group.arms]
        results = load_results(out, runs_of_groups)
        if parsed.publish is not None:
            results = publish(report.with_suffix("") / RUNS, results, parsed.recipe)
        write_report(report, groups, {name: results[name] for name in runs_of_groups if name in results})
    except (AblationError, RecipeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"Report: {report}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
