"""Questions about what has a name: how names get their articles, what is asked, and what the stored file promises."""

import random
import re

import pytest

from aura_research.reserved import reserved_texts
from aura_research.texts.named_questions import NAMED_QUESTIONS, NUM_TEXTS, NamedQuestions, called
from aura_research.texts.names import Entry


NAMES = {
    "person": ["Nansen", "Charles Darwin"],
    "place": ["Nile River", "Malabo"],
    "event": ["French Revolution", "split decision"],
    "group": ["Interpol", "grand jury"],
    "thing": ["Treaty of Versailles", "water pump"],
    "time": ["Ramadan", "school year"],
}


@pytest.mark.parametrize(
    ("name", "kind", "written"),
    [
        ("Nile River", "place", "the Nile River"),
        ("Malabo", "place", "Malabo"),
        ("French Revolution", "event", "the French Revolution"),
        ("Watergate", "event", "Watergate"),
        ("Christmas Eve", "event", "Christmas Eve"),
        ("grand jury", "group", "the grand jury"),
        ("water pump", "thing", "a water pump"),
        ("oil lamp", "thing", "an oil lamp"),
        ("Father's Day", "time", "Father's Day"),
    ],
)
def test_names_have_their_articles(name, kind, written):
    assert called(name, kind) == written


def test_forms_are_filled_with_names_of_their_kind_but_not_with_the_reserved_questions_country():
    entries = [Entry(name, kind, "", None) for kind, names in NAMES.items() for name in names]
    questions = NamedQuestions(
        [*entries, Entry("United States Congress", "group", "", None), Entry("Z", "thing", "", None)]
    )
    generator = random.Random(0)
    texts = {questions.text(generator) for _ in range(3000)}
    assert "Who was Nansen?" in texts
    assert "How far is it from Malabo to the Nile River?" in texts
    assert any(text.startswith("Name one ") for text in texts)
    assert not [text for text in texts if re.search(r"[{}]|United States|\bZ\b", text)]
    assert all(text[0] == text[0].upper() and text[-1] in ".?" for text in texts)


def test_the_stored_texts_are_many_and_not_reserved():
    texts = NAMED_QUESTIONS.read_text(encoding="utf-8").splitlines()
    assert len(texts) == len(set(texts)) == NUM_TEXTS
    assert not [text for text in texts if reserved_texts().holds(text)]
    assert not [text for text in texts if re.search(r"United States|U\.S\.|America", text)]
    assert sum(text.endswith("?") for text in texts) > NUM_TEXTS / 2
