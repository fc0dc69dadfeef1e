"""Texts of common words: which words WordNet gives, how they are bent, what is asked with them, and what the stored file promises."""

import random
import re

import pytest

from aura_research.reserved import reserved_texts
from aura_research.texts.common_words import (
    COMMON_WORDS,
    NUM_TEXTS,
    CommonWords,
    Noun,
    called,
    irregular_pasts,
    past,
    statement,
    wordnet_nouns,
    wordnet_verbs,
)
from aura_research.texts.sentences import EVERYDAY, SENTENCES, load_sentences


KINDS = ("act", "animal", "thing", "message", "event", "food", "group", "place", "person", "state")
IRREGULAR = {"buy": ["bought"], "write": ["written", "wrote"], "stop": ["stopped"], "carry": ["carried"]}


@pytest.fixture
def wordnet(tmp_path):
    """A WordNet of a few lines, in the format of its files."""
    (tmp_path / "index.noun").write_text(
        "  1 licence\nanthem n 1 1 @ 1 0 00000001\nbank n 2 1 @ 2 0 00000002 00000003\nnile n 1 1 @ 1 0 00000004\n"
    )
    (tmp_path / "data.noun").write_text(
        "  1 licence\n"
        '00000001 10 n 01 anthem 0 000 | a song of devotion or loyalty (as to a nation); "they sang it"\n'
        "00000002 14 n 01 bank 0 000 | a financial institution\n"
        "00000003 17 n 01 bank 0 000 | sloping land\n"
        "00000004 17 n 01 Nile 0 000 | a river\n"
        "00000005 03 n 01 whole 0 000 | an assemblage\n"
    )
    (tmp_path / "data.verb").write_text(
        "  1 licence\n"
        "00000011 40 v 02 buy 0 purchase 0 000 02 + 08 00 + 02 01 | obtain by purchase\n"
        "00000012 30 v 01 sleep 0 000 01 + 02 00 | be asleep\n"
    )
    (tmp_path / "verb.exc").write_text("bought buy\nbuying buy\nwritten write\nwrote write\n")
    return tmp_path


def test_nouns_have_a_kind_and_their_first_sense_alone(wordnet):
    nouns = list(wordnet_nouns(frozenset(["anthem", "bank", "whole", "Nile"]), wordnet))
    assert nouns == [
        Noun("anthem", "message", "a song of devotion or loyalty"),
        Noun("bank", "group", "a financial institution"),
    ]


def test_verbs_take_an_object_or_not_as_wordnets_frames_say(wordnet):
    words = frozenset(["buy", "purchase", "sleep"])
    assert wordnet_verbs(words, wordnet) == {"transitive": ["buy", "purchase"], "intransitive": ["sleep"]}
    assert wordnet_verbs(frozenset(["sleep"]), wordnet) == {"transitive": [], "intransitive": ["sleep"]}
    assert irregular_pasts(wordnet) == {"buy": ["bought"], "write": ["written", "wrote"]}


@pytest.mark.parametrize(
    ("verb", "written"),
    [
        ("buy", "bought"),
        ("write", None),
        ("stop", "stopped"),
        ("carry", "carried"),
        ("hope", "hoped"),
        ("try", "tried"),
        ("play", "played"),
        ("visit", "visited"),
    ],
)
def test_verbs_have_a_past_where_their_participle_is_the_same(verb, written):
    assert past(verb, IRREGULAR) == written


def test_definitions_are_told_and_asked():
    anthem = Noun("anthem", "message", "a song of devotion or loyalty")
    assert statement(anthem) == "An anthem is a song of devotion or loyalty."
    assert called(anthem) == "What do you call a song of devotion or loyalty?"
    assert statement(Noun("advice", "message", "proposals for what to do")) == "Advice is proposals for what to do."


def test_forms_are_filled_with_words_of_their_kind():
    nouns = {kind: [f"{kind}{letter}" for letter in "abc"] for kind in KINDS}
    verbs = {"transitive": [("buy", "bought"), ("use", "used")], "intransitive": [("sleep", "slept")]}
    words = CommonWords(nouns, verbs)
    generator = random.Random(0)
    texts = {words.text(generator) for _ in range(4000)}
    assert not [text for text in texts if re.search(r"[{}_]", text)]
    assert all(text[0] == text[0].upper() and text[-1] in ".?" for text in texts)
    assert {"Who was the first persona?", "Who bought the thingb?"} <= texts
    assert any(re.fullmatch(r"Where does an animal. sleep\?", text) for text in texts)


def test_the_stored_texts_are_many_new_and_not_reserved():
    texts = COMMON_WORDS.read_text(encoding="utf-8").splitlines()
    assert len(texts) == len(set(texts)) == sum(NUM_TEXTS.values())
    assert not {*texts} & {*load_sentences(SENTENCES), *load_sentences(EVERYDAY)}
    assert not [text for text in texts if reserved_texts().holds(text)]
