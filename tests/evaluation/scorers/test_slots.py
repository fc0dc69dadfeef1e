import pytest

from transformers_aura.evaluation.scorers import Reference, SlotAcceptance


TRUE = Reference(('{"coffeeDrink": "mocha", "size": "large"}',))


@pytest.mark.parametrize(
    ("answer", "labelled", "strict"),
    [
        ('{"size": "large", "coffeeDrink": " mocha "}', 1.0, 1.0),
        ('{"size": "large", "coffeeDrink": "mocha", "roast": "dark"}', 1.0, 0.0),
        ('{"coffeeDrink": "mocha"}', 0.0, 0.0),
        ('{"coffeeDrink": "mocha", "size": "small"}', 0.0, 0.0),
        ('["mocha", "large"]', 0.0, 0.0),
        ('a large mocha {"coffeeDrink": "mocha", "size": "large"}', 0.0, 0.0),
        ("", 0.0, 0.0),
        ("[" * 100_000, 0.0, 0.0),
        ('{"size": ' + "1" * 5000 + "}", 0.0, 0.0),
    ],
)
def test_one_object_with_every_labelled_slot(answer, labelled, strict):
    assert SlotAcceptance().statistics(answer, TRUE) == (labelled, 1.0)
    assert SlotAcceptance(strict=True).statistics(answer, TRUE) == (strict, 1.0)
