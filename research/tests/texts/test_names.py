"""Texts with names and numbers: what is made of WordNet's entries, and what the stored file promises."""

import json
import random
import re
import tarfile

import pytest

from aura_research.reserved import reserved_texts
from aura_research.texts.names import (
    NAMES,
    NUM_TEXTS,
    Entry,
    factbook_histories,
    is_sayable,
    number_text,
    question,
    statement,
    wordnet_entries,
)


WORDS = frozenset(
    re.findall(r"\w+", "a the is was Nile Steuben American general river longest in world born canal boat city of")
)
WORDNET_LINES = """\
  1 This software and database is being provided to you
09440400 17 n 02 Nile 0 Nile_River 0 001 @i 09411430 n 0000 | the world's longest river (4150 miles)
11318824 18 n 02 Steuben 0 Baron_Steuben 1 001 @i 10123844 n 0000 | American general (born in Prussia) (1730-1794); "he trained the army"
02946921 06 n 01 canal_boat 0 001 @ 02858304 n 0000 | a long boat
02084071 05 n 01 dog 0 001 @ 02083346 n 0000 | a member of the genus Canis
00001740 03 n 01 entity 0 000 | that which exists
"""


def test_entries_are_what_has_a_name(tmp_path):
    (tmp_path / "data.noun").write_text(WORDNET_LINES)
    words = WORDS | {"River", "Baron"}
    nile, steuben, boat = wordnet_entries(words, random.Random(0), tmp_path)
    assert nile.name in ("Nile", "Nile River")
    assert (nile.kind, nile.definition, nile.born) == ("place", "the world's longest river", None)
    assert (steuben.kind, steuben.definition, steuben.born) == ("person", "American general", "1730")
    assert boat == Entry("canal boat", "thing", "a long boat", None)


def test_statements_and_questions_have_their_articles():
    generator = random.Random(0)
    assert statement(Entry("Nile", "place", "the longest river", None), generator) == "Nile is the longest river."
    assert statement(Entry("canal boat", "thing", "a long boat", None), generator) == "A canal boat is a long boat."
    assert statement(Entry("Steuben", "person", "American general", None), generator) == (
        "Steuben was an American general."
    )
    born = {statement(Entry("Steuben", "person", "American general", "1730"), generator) for _ in range(20)}
    assert "Steuben, born in 1730, was an American general." in born
    asked = {question(Entry("canal boat", "thing", "a long boat", None), generator) for _ in range(50)}
    assert "What is the canal boat?" in asked


def test_histories_keep_abbreviations_and_lower_surnames(tmp_path):
    text = "The US and the UN sent help. General DE GAULLE (1890) withdrew from NATO."
    member = tmp_path / "package" / "europe" / "fr.json"
    member.parent.mkdir(parents=True)
    member.write_text(json.dumps({"Introduction": {"Background": {"text": text}}}))
    with tarfile.open(tmp_path / "factbook.tgz", "w:gz") as archive:
        archive.add(tmp_path / "package", "package")
    assert list(factbook_histories(tmp_path / "factbook.tgz")) == [
        "The U.S. and the UN sent help.",
        "General DE Gaulle withdrew from NATO.",
    ]


@pytest.mark.parametrize(
    ("text", "sayable"),
    [
        ("The Nile is the longest river.", True),
        ("The Nile was longest in 1875, in the 1900s.", True),
        ("The general is in the U.S. in World War II.", False),
        ("A general of the UN was born in the U.S.", True),
        ("The Nile", False),
        ("The Nile is Xyzzy.", False),
        ("The Nile is the <b>river</b>.", False),
    ],
)
def test_sayable_texts(text, sayable):
    assert is_sayable(text, WORDS) is sayable


def test_the_stored_texts_have_names_and_numbers_and_are_not_reserved():
    texts = NAMES.read_text(encoding="utf-8").splitlines()
    assert len(texts) == len(set(texts)) > 0.8 * sum(NUM_TEXTS.values())
    assert not [text for text in texts if reserved_texts().holds(text)]
    assert sum(bool(re.search(r"\d", text)) for text in texts) > 1000
    assert sum("U.S." in text for text in texts) > 50
    assert all("{" not in number_text(random.Random(seed)) for seed in range(100))
