"""From answers to numbers: every figure with its n and its 95 % interval."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from student.measure.cases import Case
from student.measure.intervals import bootstrap_interval, wilson_interval
from student.measure.scores import Normalizer, contains_answer, score_order, word_errors
from student.texts.questions import first_sentence


@dataclass(frozen=True)
class Scored:
    """A case, an answer and its scores.

    Attributes:
        scores: of an order `labelled` and `strict`, of an answer `right` (1 or 0); of a transcript `errors` and `words`.
    """

    case: Case
    answer: str
    scores: dict[str, int]

    @property
    def is_right(self) -> bool:
        """Every labelled slot, an accepted answer, or every word."""
        if self.case.kind == "transcript":
            return self.scores["errors"] == 0
        return bool(self.scores["labelled" if self.case.kind == "order" else "right"])


@dataclass(frozen=True)
class Figure:
    """A number of the report.

    Attributes:
        name: what was measured, unique within a case set.
        value: a share or an error rate, 1 = 100 %.
        n: how many cases it is made of.
        interval: 95 % confidence interval.
        method: of the interval.
    """

    name: str
    value: float
    n: int
    interval: tuple[float, float]
    method: str


def score(cases: Sequence[Case], answers: Mapping[str, str], normalizer: Normalizer) -> list[Scored]:
    """The scored answers to the cases that have one, in the order of the cases."""
    return [
        Scored(case, answers[case.name], _score(case, answers[case.name], normalizer))
        for case in cases
        if case.name in answers
    ]


def _score(case: Case, answer: str, normalizer: Normalizer) -> dict[str, int]:
    if case.kind == "order":
        order = score_order(answer, case.truth)
        return {"labelled": int(order.labelled), "strict": int(order.strict)}
    if case.kind == "answer":
        return {"right": int(contains_answer(first_sentence(answer), case.truth, case.needed, normalizer))}
    errors, words = word_errors(answer, case.truth, normalizer)
    return {"errors": errors, "words": words}


def order_figures(scored: Sequence[Scored], seed: int = 0) -> list[Figure]:
    """Acceptance of orders: of every group, and the mean over the groups where there are several."""
    figures = []
    groups = list(dict.fromkeys(item.case.group for item in scored))
    for key, name in (("labelled", "every labelled slot right"), ("strict", "and nothing else answered")):
        for group in groups:
            marks = [item.scores[key] for item in scored if item.case.group == group]
            figures.append(_share(f"{group}: {name}", marks))
        if len(groups) > 1:
            figures.append(_mean_over_groups(f"mean of {groups[0]} to {groups[-1]}: {name}", scored, key, seed))
    return figures


def answer_figure(scored: Sequence[Scored], name: str) -> Figure:
    """The share of right answers to questions."""
    return _share(name, [item.scores["right"] for item in scored])


def word_error_figure(scored: Sequence[Scored], name: str, seed: int = 0) -> Figure:
    """Word error rate: all errors to all true words."""
    errors, words = ([item.scores[key] for item in scored] for key in ("errors", "words"))
    interval = bootstrap_interval(errors, words, seed=seed)
    return Figure(name, sum(errors) / sum(words), len(scored), interval, f"bootstrap over {len(scored)} utterances")


def set_figures(case_set: str, scored: Sequence[Scored], known: frozenset[str] | None, seed: int = 0) -> list[Figure]:
    """All figures of one system on one case set.

    Args:
        known: names of the questions that the LLM answers right from the text; only those count. `None` = all count.
    """
    if case_set in ("orders", "noise"):
        return order_figures(scored, seed) if scored else []
    figures = []
    answers = [item for item in scored if item.case.kind == "answer" and (known is None or item.case.name in known)]
    transcripts = [item for item in scored if item.case.kind == "transcript"]
    if answers:
        what = "of all questions" if known is None else "of those that the LLM answers right from the text"
        figures.append(answer_figure(answers, f"answers right, {what}"))
    if transcripts:
        figures.append(word_error_figure(transcripts, "word error rate", seed))
    return figures


def _share(name: str, marks: Sequence[int]) -> Figure:
    right, total = sum(marks), len(marks)
    return Figure(name, right / total, total, wilson_interval(right, total), "Wilson")


def _mean_over_groups(name: str, scored: Sequence[Scored], key: str, seed: int) -> Figure:
    """The share of all groups together. What is made of one recording is not independent, so recordings are resampled, not cases."""
    marks_of: dict[str, list[int]] = {}
    for item in scored:
        marks_of.setdefault(item.case.source, []).append(item.scores[key])
    right, trials = [sum(marks) for marks in marks_of.values()], [len(marks) for marks in marks_of.values()]
    share = sum(right) / sum(trials)
    if 0 < share < 1:
        interval, method = bootstrap_interval(right, trials, seed=seed), "bootstrap"
    else:  # resampling cannot tell how sure that is
        interval, method = wilson_interval(round(share * len(right)), len(right)), "Wilson"
    return Figure(name, share, sum(trials), interval, f"{method} over {len(right)} recordings")


def as_row(item: Scored) -> dict[str, Any]:
    """A scored answer for the report's JSON."""
    case = item.case
    return {
        "name": case.name, "group": case.group, "kind": case.kind, "question": case.question, "said": case.text,
        "truth": case.truth, "answer": item.answer, **item.scores,
    }  # fmt: skip
