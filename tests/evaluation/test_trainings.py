import pytest

from tests.evaluation.support import questions, right_on
from tests.evaluation.test_evaluation import evaluate
from transformers_aura.evaluation.comparison import compare_evaluations
from transformers_aura.evaluation.trainings import without_single_trainings


@pytest.fixture
def systems():
    return [
        right_on(range(6), "bridge#1"),
        right_on(range(3), "bridge#2"),
        right_on(range(12), "gold", needs_text=True),
    ]


def test_trainings_stand_alone_and_together(tmp_path, systems):
    results = evaluate(tmp_path, systems, conditions=("clean", "gain:-6", "gain:-12"))
    found = {figure.system: figure for figure in results.select(scorer="contains", condition="clean")}
    assert {name: figure.value for name, figure in found.items()} == {
        "bridge#1": 0.5, "bridge#2": 0.25, "bridge#all": 0.375, "gold": 1.0,
    }  # fmt: skip
    assert found["bridge#all"].num_items == 24
    assert found["bridge#all"].interval.method == "bootstrap over 2 trainings and 12 items"
    (all_amounts,) = results.select(system="bridge#all", scorer="contains", condition="gain:all")
    assert all_amounts.num_items == 48
    by_accent = list(results.select(system="bridge#all", scorer="contains", condition="clean", group="accent=even"))
    assert by_accent[0].value == pytest.approx((3 + 2) / 12)


def test_what_is_tested_is_the_system_not_one_training(tmp_path, systems):
    results = evaluate(tmp_path, systems)
    tests = [test for test in results.tests if test.scorer == "contains"]
    assert [{test.first, test.second} for test in tests] == [{"bridge#all", "gold"}]
    assert abs(tests[0].comparison.difference) == pytest.approx(1 - 0.375)
    assert "bridge#2" in (tmp_path / "results.md").read_text()


def test_trainings_that_were_measured_apart_come_together(tmp_path, systems):
    together = evaluate(tmp_path / "together", systems)
    for number, system in enumerate(systems):
        evaluate(tmp_path / str(number), [system])
    compared = compare_evaluations([tmp_path / str(number) for number in range(3)], tmp_path / "out")
    values = {figure.system: figure.value for figure in compared.select(scorer="contains", condition="clean")}
    assert values == {f.system: f.value for f in together.select(scorer="contains", condition="clean")}


def test_trainings_that_were_asked_other_items_are_an_error(tmp_path, systems):
    evaluate(tmp_path / "a", systems[:1])
    evaluate(tmp_path / "b", systems[1:2], questions(10))
    with pytest.raises(ValueError, match="trainings of bridge#all were not asked the same items of quiz"):
        compare_evaluations([tmp_path / "a", tmp_path / "b"], tmp_path / "out")


def test_names_that_stand_for_themselves():
    assert without_single_trainings(["a#1", "a#2", "a#all", "b", "c#1"]) == {"a#all", "b", "c#1"}
    assert without_single_trainings(["a", "b#1"]) == {"a", "b#1"}
