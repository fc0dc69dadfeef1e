import pytest

from transformers_aura.evaluation.scorers import Containment, Reference
from transformers_aura.evaluation.scorers.containment import first_sentence


@pytest.mark.parametrize(
    ("answer", "accepted", "needed", "right"),
    [
        ("The capital of France is Paris.", ("Paris",), 1, True),
        ("The capital is Parisian.", ("Paris",), 1, False),
        ("George Washington, of course", ("(George) Washington",), 1, True),
        ("Washington", ("(George) Washington",), 1, True),
        ("There are twenty-seven.", ("27",), 1, True),
        ("life and liberty", ("life", "liberty", "pursuit of happiness"), 2, True),
        ("life", ("life", "liberty", "pursuit of happiness"), 2, False),
        ("The first president (George Washington).", ("Washington",), 1, True),
        ("Life.", ("life", "Life!"), 2, False),
        ("freedom of the speech", ("the freedom of speech",), 1, True),
        ("", ("Paris",), 1, False),
        ("the", ("the",), 1, False),
    ],
)
def test_whole_words_after_normalisation(answer, accepted, needed, right):
    assert Containment().statistics(answer, Reference(accepted, needed)) == (float(right), 1.0)


def test_only_the_first_sentence_may_count():
    answer = "It is Mr. J. Smith. Others say it was Ada."
    assert first_sentence(answer) == "It is Mr. J. Smith."
    reference = Reference(("Ada",))
    assert Containment().statistics(answer, reference) == (1.0, 1.0)
    assert Containment(first_sentence=True).statistics(answer, reference) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("no end", "no end"),
        ("Washington\nAdams", "Washington"),
        ("Gen. Lee lost. Grant won.", "Gen. Lee lost."),
        ("1. Life, liberty. 2. Happiness", "Life, liberty."),
        ('He said "Paris." Then he left.', 'He said "Paris."'),
        ("In 1776. Not later.", "In 1776."),
        ("It costs 3.50 dollars. Yes.", "It costs 3.50 dollars."),
        (" \n", ""),
    ],
)
def test_where_a_sentence_ends(text, first):
    assert first_sentence(text) == first
