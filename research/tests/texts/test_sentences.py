"""General sentences: how they are cut, which are plain, and what the stored file promises."""

import gzip
import random
from collections import Counter

import pytest

from aura_research.reserved import ReservedTexts, normalise
from aura_research.texts.sentences import (
    EVERYDAY,
    LAW,
    MAX_SAME_OPENING,
    SENTENCES,
    choose_sentences,
    draw_sentences,
    is_plain,
    law_clauses,
    read_word_list,
    split_sentences,
    template_sentences,
)


WORDS = frozenset(["the", "a", "dog", "sees", "can't", "Paris", "in", "is", "it", "well", "old", "judge"])


def test_passages_are_cut_into_sentences():
    passage = 'Mr. Gray said, "It rains."\nHe left—at once; she stayed.\n\n- A list item\n2. Another.'
    assert split_sentences(passage) == [
        "Mister Gray said, It rains.",
        "He left, at once, she stayed.",
        "- A list item",
        "2.",
        "Another.",
    ]


@pytest.mark.parametrize(
    ("sentence", "plain"),
    [
        ("The old dog sees Paris.", True),
        ("Well, the dog can't see.", False),
        ("Well, it can't, is it?", True),
        ("The dog is.", False),
        ("the old dog sees Paris.", False),
        ("The dog sees 4 judge.", False),
        ("The dog sees the PARIS.", False),
        ("The old dog sees Paris", False),
        ("The dog sees B it.", False),
    ],
)
def test_plain_sentences(sentence, plain):
    assert is_plain(sentence, WORDS) is plain


def test_rare_words_come_first_and_openings_are_not_repeated_often():
    pool = [f"The old man saw {word} again." for word in "abcdefghijklmnop"] + [
        "Quartz vexes nymphs.",
        "quartz vexes nymphs",
    ]
    chosen = choose_sentences(pool, 100)
    assert normalise(chosen[0]) == "quartz vexes nymphs"
    assert len(chosen) == 1 + MAX_SAME_OPENING
    assert choose_sentences(pool, 3) == chosen[:3]


def test_templates_are_filled():
    sentences = template_sentences(random.Random(0), 300)
    assert all("{" not in sentence and sentence[0].isupper() and sentence[-1] in ".?" for sentence in sentences)
    assert not any(" a o" in sentence for sentence in sentences)


def test_a_missing_word_list_names_its_package(tmp_path):
    with pytest.raises(FileNotFoundError, match="wamerican"):
        read_word_list(tmp_path / "none")


@pytest.mark.parametrize(("file", "least"), [(SENTENCES, 6000), (EVERYDAY, 6000), (LAW, 300)])
def test_the_stored_sentences_hold_what_they_promise(file, least):
    sentences = file.read_text().splitlines()
    assert len(sentences) >= least
    assert len({normalise(sentence) for sentence in sentences}) == len(sentences)
    reserved = ReservedTexts.from_repository()
    letters = frozenset(" ',.?!")
    for sentence in sentences:
        assert 4 <= len(sentence.split()) <= 16
        assert all((letter.isascii() and letter.isalpha()) or letter in letters for letter in sentence)
        assert not reserved.holds(sentence)


def test_everyday_sentences_are_others_with_more_frequent_words():
    rare, everyday = SENTENCES.read_text().splitlines(), EVERYDAY.read_text().splitlines()
    assert {normalise(text) for text in rare}.isdisjoint(normalise(text) for text in everyday)

    def words_once(texts):
        counts = Counter(word for text in texts for word in normalise(text).split())
        return sum(count == 1 for count in counts.values()) / len(counts)

    assert words_once(everyday[:6000]) < words_once(rare[:6000])


def test_sentences_are_drawn_once_and_none_that_is_taken():
    pool = ["The dog sees.", "the dog sees", "A cat.", "It rains."]
    drawn = draw_sentences(pool, ["a cat"], 5, random.Random(0))
    assert sorted(map(normalise, drawn)) == ["dog sees", "it rains"]
    assert draw_sentences(pool, [], 1, random.Random(1)) == draw_sentences(pool, [], 1, random.Random(1))


def test_state_papers_are_cut_into_clauses(tmp_path):
    paper = tmp_path / "paper.gz"
    paper.write_bytes(
        gzip.compress(
            b"Section 1\n\nAll legislative Powers, herein\ngranted, shall be vested in a Congress; no Person shall."
        )
    )
    assert list(law_clauses([paper, tmp_path / "absent.gz"])) == [
        "All legislative powers herein granted shall be vested in a Congress."
    ]
