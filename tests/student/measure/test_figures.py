"""From answers to numbers, computed by hand."""

import numpy as np
import pytest

from student.measure.cases import Case
from student.measure.figures import score, set_figures
from student.measure.intervals import wilson_interval
from student.measure.scores import Normalizer


RIGHT, EXTRA, WRONG = '{"size": "small"}', '{"size": "small", "roast": "dark roast"}', "small"


def case(name: str, kind: str, truth: object, group: str = "clean", source: str | None = None) -> Case:
    return Case(
        name=name, kind=kind, group=group, source=source or name, seconds=1.0, question=None, text=None, truth=truth,
        load=lambda: np.zeros(16000, np.float32),
    )  # fmt: skip


def test_orders_have_both_figures():
    cases = [case(name, "order", {"size": "small"}) for name in "abc"]
    scored = score(cases, {"a": RIGHT, "b": EXTRA, "c": WRONG}, Normalizer())
    labelled, strict = set_figures("orders", scored, None)
    assert (labelled.name, labelled.value, labelled.n) == ("clean: every labelled slot right", 2 / 3, 3)
    assert labelled.interval == wilson_interval(2, 3)
    assert strict.value == pytest.approx(1 / 3)
    assert [item.is_right for item in scored] == [True, True, False]


def test_noise_has_a_figure_a_ratio_and_their_mean():
    cases = [case(f"{name} {db}", "order", {"size": "small"}, f"{db} dB", name) for db in (6, 9) for name in "ab"]
    answers = {"a 6": RIGHT, "b 6": WRONG, "a 9": RIGHT, "b 9": RIGHT}
    figures = {figure.name: figure for figure in set_figures("noise", score(cases, answers, Normalizer()), None)}
    assert figures["6 dB: every labelled slot right"].value == 0.5
    assert figures["9 dB: every labelled slot right"].value == 1.0
    mean = figures["mean of 6 dB to 9 dB: every labelled slot right"]
    assert (mean.value, mean.n, mean.method) == (0.75, 4, "bootstrap over 2 recordings")
    assert mean.interval == (0.5, 1.0)


def test_a_mean_of_nothing_right_is_not_sure():
    cases = [case(f"{name} {db}", "order", {"size": "small"}, f"{db} dB", name) for db in (6, 9) for name in "ab"]
    figures = set_figures("noise", score(cases, {item.name: WRONG for item in cases}, Normalizer()), None)
    mean = next(figure for figure in figures if figure.name.startswith("mean"))
    assert (mean.value, mean.interval, mean.method) == (0.0, wilson_interval(0, 2), "Wilson over 2 recordings")


def test_only_questions_that_the_llm_knows_count():
    cases = [case("1 answer", "answer", ["Paris"]), case("2 answer", "answer", ["Rome"])]
    cases.append(case("1 transcript", "transcript", "what is it"))
    answers = {"1 answer": "Paris.", "2 answer": "Oslo it is. Or Rome.", "1 transcript": "what was it"}
    scored = score(cases, answers, Normalizer())
    right, errors = set_figures("questions", scored, frozenset(["1 answer"]))
    assert (right.value, right.n) == (1.0, 1)
    assert (errors.name, errors.value, errors.n) == ("word error rate", 1 / 3, 1)
    of_all = set_figures("questions", scored, None)[0]
    assert (of_all.value, of_all.n, of_all.name) == (0.5, 2, "answers right, of all questions")


def test_cases_without_an_answer_are_not_scored():
    assert score([case("a", "order", {})], {}, Normalizer()) == []
    assert set_figures("orders", [], None) == []
