"""When an answer is right."""

import json

import pytest

from student.measure.scores import Normalizer, OrderScore, contains_answer, readings, score_order, word_errors


SLOTS = {"coffeeDrink": "mocha", "size": "small"}


@pytest.fixture(scope="module")
def normalizer():
    return Normalizer()


@pytest.mark.parametrize(
    ("answer", "labelled", "strict"),
    [
        ('{"coffeeDrink": "mocha", "size": "small"}', True, True),
        ('{"size": " small ", "coffeeDrink": "mocha"}', True, True),
        ('{"coffeeDrink": "mocha", "size": "small", "roast": "dark roast"}', True, False),
        ('{"coffeeDrink": "mocha"}', False, False),
        ('{"coffeeDrink": "iced mocha", "size": "small"}', False, False),
        ('{"coffeeDrink": ["mocha"], "size": "small"}', False, False),
        ('["mocha", "small"]', False, False),
        ("a small mocha", False, False),
        ("", False, False),
    ],
)
def test_orders(answer, labelled, strict):
    assert score_order(answer, SLOTS) == OrderScore(labelled, strict)


@pytest.mark.parametrize(
    ("answer", "accepted", "needed", "right"),
    [
        ("It was George Washington.", ["(George) Washington"], 1, True),
        ("Washington!", ["(George) Washington"], 1, True),
        ("The US has 27 amendments.", ["twenty-seven (27)"], 1, True),
        ("Twenty-seven.", ["twenty-seven (27)"], 1, True),
        ("The United States Constitution", ["the Constitution"], 1, True),
        ("It is constitutional.", ["the Constitution"], 1, False),
        ("Life and love.", ["life", "liberty"], 2, False),
        ("Life and liberty.", ["life", "liberty"], 2, True),
        ("", ["life"], 1, False),
    ],
)
def test_answers(answer, accepted, needed, right, normalizer):
    assert contains_answer(answer, accepted, needed, normalizer) is right


def test_readings_of_parentheses():
    assert readings("(because of) the state's population") == (
        "the state's population",
        "because of the state's population",
    )
    assert readings("November") == ("November",)


def test_word_errors(normalizer):
    assert word_errors("Ten of clubs.", "ten of clubs", normalizer) == (0, 3)
    assert word_errors("two of clubs now", "ten of clubs", normalizer) == (2, 3)
    assert word_errors("", "ten of clubs", normalizer) == (3, 3)


def test_spellings_come_from_the_whisper_folder(tmp_path):
    assert Normalizer(tmp_path).description.endswith("no spelling mapping")
    (tmp_path / "normalizer.json").write_text(json.dumps({"colour": "color"}))
    with_spellings = Normalizer(tmp_path)
    assert "normalizer.json" in with_spellings.description
    assert with_spellings("Colour!") == "color"
    assert Normalizer()("Colour!") == "colour"
