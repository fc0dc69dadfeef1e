"""The report of the ablations as Markdown, from the results alone."""

import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from aura_research.ablations.arms import Arm, Group
from aura_research.ablations.clips import REAL, SYNTHETIC
from aura_research.ablations.comparison import KINDS, Comparison, Difference, Pairs, compare, pair
from aura_research.ablations.figure import draw_group
from aura_research.ablations.results import (
    CROSS_ENTROPY,
    LOGGED_FIGURES,
    LoggedFigure,
    Results,
    RunResult,
    logged_figures,
)
from transformers_aura.evaluation.scorers.interface import ratio
from transformers_aura.evaluation.statistics import interval_of, wilson_interval


ORDERS_ARE = f"""\
- **Orders right**: every labelled slot is right in the JSON answer, greedily. *{SYNTHETIC}*: validation clips of the corpus; *{REAL}*: recordings
  of real people that training did not have. In brackets the 95 % Wilson interval over clips and seeds together, which takes them for independent; then the
  interval of a bootstrap over the seeds, where there are several. Their differences have intervals that hold the clips' share too.
"""
"""How a report is read in which students were asked for orders, besides."""

HOW_READ = """\
Every arm is trained from the same seeds, on the same clips in the same order, in a process of one thread. Seconds are those of training:
reading clips and asking the teacher count, evaluations and writing checkpoints do not. The learning rate does not decay, so a curve can be read
anywhere as if its run had ended there.

{orders}- Of the synthetic validation clips, mean over the seeds and in brackets the lowest and the highest. **Cross-entropy** of the answers, nats a token: it
  falls late, when the student begins to hear, and how late is chance to a large part. **Answer KL**, nats a token, where it is taught: how far from what the base
  LLM that reads the transcript would say. **CTC loss**, nats a character: how well the transcript's
  characters can be told from the audio tokens, which tells arms apart sooner. **Cosine to the teacher**, of the states that are distilled; it is compared only
  between arms that distil the same states.
- **Differences** are paired: the same seeds and clips. *Equal steps*: where the run of fewer steps ended. *Equal time*: where the faster of the two runs of
  a seed ended; the other is interpolated between its scorings. Losses are compared by their ratio, which is a geometric mean over the seeds: seeds spread them in proportion to their height. Intervals are of t over the seeds, with a standard deviation that is pooled
  over all comparisons of this page (as in an analysis of variance: a few seeds of one arm say little of it). One
  seed decides nothing. *Better* and *worse* are said only where the interval excludes 0.
- Settings other than the arm's were chosen for the student that ships, and are not tuned again for each arm."""


def write_report(path: Path, groups: Sequence[Group], results: Results) -> None:
    """Writes the Markdown file `path`, and a picture of each group that has results into a folder beside it, of the same name.

    Args:
        results: run name -> seed -> result; see [`load_results`].
    """
    pictures = path.with_suffix("")
    for group in groups:
        arms = {arm.name: results.get(arm.run, {}) for arm in group.arms}
        if any(arms.values()):
            draw_group(pictures / f"{group.name}.png", arms)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(as_markdown(groups, results, pictures.name) + "\n", encoding="utf-8")


def as_markdown(groups: Sequence[Group], results: Results, pictures: str) -> str:
    """The report.

    Args:
        pictures: folder of the pictures, relative to the report.
    """
    comparisons = compare_groups(groups, results)
    parts = ["# Ablations", _facts(results), "## What is decided", _decided(groups, comparisons), _how_read(results)]
    for group in groups:
        parts += [f"## {group.name.replace('_', ' ')}", group.question, _command(group, results)]
        parts.append(_arms_table(group, results))
        if comparisons[group.name]:
            parts.append(_comparisons_table(comparisons[group.name]))
        if any(results.get(arm.run, {}) for arm in group.arms):
            parts.append(f"![Curves and results of the arms]({pictures}/{group.name}.png)")
    return "\n\n".join(parts)


def compare_groups(groups: Sequence[Group], results: Results) -> dict[str, list[Comparison]]:
    """The comparisons of each group that can be made, each at equal steps and at equal time."""
    pairs = {group.name: _group_pairs(group, results) for group in groups}
    compared = iter(compare([one for of_group in pairs.values() for one in of_group]))
    return {name: [next(compared) for _ in of_group] for name, of_group in pairs.items()}


def _group_pairs(group: Group, results: Results) -> list[Pairs]:
    read = [
        pair(name, reference, results.get(group.arm(name).run, {}), results.get(group.arm(reference).run, {}), axis)
        for name, reference in group.comparisons
        for axis in ("step", "train_seconds")
    ]
    return [pairs for pairs in read if pairs is not None]


def _how_read(results: Results) -> str:
    return HOW_READ.format(orders=ORDERS_ARE if _were_scored(results) else "")


def _were_scored(results: Results) -> bool:
    return any(run.checks for of_arm in results.values() for run in of_arm.values())


def _facts(results: Results) -> str:
    runs = [run for of_arm in results.values() for run in of_arm.values()]
    if not runs:
        return "No run has finished yet."
    machines = sorted({run.machine for run in runs})
    share = statistics.fmean(run.core_share for run in runs)
    hours = sum(run.end("train_seconds") for run in runs) / 3600
    lines = [f"{len(runs)} runs, {hours:.1f} hours of training, a core for each run: {'; '.join(machines)}."]
    lines.append(f"A run had its core for {share:.0%} of its time (processor time to wall time).")
    if not _were_scored(results):
        lines.append("The students were not asked for answers: what is compared is what they learn, by its losses.")
    return " ".join(lines)


def _decided(groups: Sequence[Group], comparisons: Mapping[str, list[Comparison]]) -> str:
    lines, total = [], 0
    for group in groups:
        for comparison in comparisons[group.name]:
            for label, difference, unit in _differences(comparison):
                total += 1
                if difference.verdict != "undecided":
                    at = _where(comparison)
                    value = _difference_cell(difference, unit)
                    lines.append(
                        f"- {group.name}: **{comparison.pairs.arm}** is {difference.verdict} than {comparison.pairs.reference} {at}, {label}: {value}"
                    )
    if not total:
        return "Nothing: no two arms were run from the same seed."
    if not lines:
        lines.append("Nothing: every interval holds 0, or there is none.")
    lines.append(
        f"\n{total} differences were looked at; with 95 % intervals one in 20 would be decided by chance alone. All of them are below."
    )
    return "\n".join(lines)


def _command(group: Group, results: Results) -> str:
    runs = [run for arm in group.arms for run in results.get(arm.run, {}).values()]
    seeds = sorted({run.seed for run in runs})
    command = f"python -m aura_research.ablations CORPUS --only {group.name}"
    if runs:
        budgets = sorted({_budget(run) for run in runs})
        command += f" --seeds {' '.join(map(str, seeds))} {budgets[0]}"
        if not any(run.checks for run in runs):
            command += f" --scorings 0 --evaluations {max(len(run.curve(CROSS_ENTROPY)) for run in runs)}"
        if runs[0].common_settings:
            command += f" --set {' '.join(runs[0].common_settings)}"
    return f"`{command}`"


def _budget(run: RunResult) -> str:
    return f"--steps {run.end('step')}" if run.minutes is None else f"--minutes {run.minutes:g}"


def _arms_table(group: Group, results: Results) -> str:
    were_scored = any(run.checks for arm in group.arms for run in results.get(arm.run, {}).values())
    kinds = KINDS if were_scored else ()
    taken = logged_figures(run for arm in group.arms for run in results.get(arm.run, {}).values())
    figures = [*(f"orders right, {kind}" for kind in kinds), *(figure.label for figure in taken)]
    lines = [
        f"| arm | settings | seeds | {' | '.join(figures)} | steps | minutes | ms a step |",
        f"|{'---|' * (6 + len(figures))}",
    ]
    for arm in group.arms:
        runs = list(results.get(arm.run, {}).values())
        if not runs:
            lines.append(f"| {arm.name} | {_settings(arm)} | not run |{' |' * (3 + len(figures))}")
            continue
        steps = statistics.fmean(run.end("step") for run in runs)
        seconds = statistics.fmean(run.end("train_seconds") for run in runs)
        cells = [
            arm.name, _settings(arm), ", ".join(str(run.seed) for run in runs),
            *(_acceptance_cell(runs, kind) for kind in kinds), *(_logged_cell(figure, runs) for figure in taken),
            f"{steps:.0f}", f"{seconds / 60:.1f}", f"{1000 * seconds / steps:.0f}",
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _settings(arm: Arm) -> str:
    return "<br>".join(f"`{setting}`" for setting in arm.settings) or "as the recipe"


def _acceptance_cell(runs: Sequence[RunResult], kind: str) -> str:
    marks = [run.last_marks(kind) for run in runs]
    right, clips = [sum(of_run) for of_run in marks], [len(of_run) for of_run in marks]
    if not all(clips):
        return "no clips"
    wilson = wilson_interval(sum(right), sum(clips))
    cell = f"{sum(right) / sum(clips):.1%} ({wilson.low:.1%} to {wilson.high:.1%}), {sum(right)} of {sum(clips)}"
    if len(runs) > 1:
        seeds = interval_of(np.array([right, clips], float).T, ratio, range(len(runs)))
        cell += f"; seeds {seeds.low:.1%} to {seeds.high:.1%}"
    return cell


def _logged_cell(figure: LoggedFigure, runs: Sequence[RunResult]) -> str:
    values = [value for run in runs if (value := run.value_at(figure.key, "step", run.end("step"))) is not None]
    if not values:
        return "not taken"
    cell = f"{statistics.fmean(values):.3f}"
    return cell if len(values) == 1 else f"{cell} ({min(values):.3f} to {max(values):.3f})"


def _comparisons_table(comparisons: Sequence[Comparison]) -> str:
    lines = [
        "| arm | beside | read at | of | difference (95 % interval) | seeds | verdict |",
        "|---|---|---|---|---|---|---|",
    ]
    for comparison in comparisons:
        for label, difference, unit in _differences(comparison):
            lines.append(
                f"| {_who_and_where(comparison)} | {label} | {_difference_cell(difference, unit)} "
                f"| {difference.num_seeds} | {difference.verdict} |"
            )
        if comparison.pairs.were_scored and SYNTHETIC not in comparison.acceptance:
            lines.append(
                f"| {_who_and_where(comparison)} | orders right | not read: the slower run was not scored by then | | undecided |"
            )
    return "\n".join(lines)


def _differences(comparison: Comparison) -> list[tuple[str, Difference, str]]:
    """Name, difference and unit of every figure of a comparison."""
    found = [(f"orders right, {kind}", difference, "points") for kind, difference in comparison.acceptance.items()]
    found += [
        (figure.label, comparison.logged[figure.key], "times" if figure.by_ratio else "")
        for figure in LOGGED_FIGURES
        if figure.key in comparison.logged
    ]
    return found


def _who_and_where(comparison: Comparison) -> str:
    return f"{comparison.pairs.arm} | {comparison.pairs.reference} | {_where(comparison)}"


def _where(comparison: Comparison) -> str:
    if comparison.pairs.axis == "step":
        return f"at equal steps ({comparison.pairs.at:.0f})"
    return f"at equal time ({comparison.pairs.at / 60:.1f} min)"


def _difference_cell(difference: Difference, unit: str) -> str:
    def written(value: float) -> str:
        if unit == "times":
            return f"{math.exp(value):.2f}"
        return f"{100 * value:+.1f}" if unit == "points" else f"{value:+.3f}"

    value = f"{written(difference.value)} {unit}".strip()
    if difference.interval is None:
        return f"{value} (one seed: no interval)"
    low, high = difference.interval
    return f"{value} ({written(low)} to {written(high)})"
