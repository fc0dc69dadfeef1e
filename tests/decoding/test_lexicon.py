"""The trie in sorted arrays against one of dicts, in any script."""

import random
from collections import Counter

import numpy as np
import pytest

from transformers_aura.decoding.alphabet import LATIN_ALPHABET, CharacterAlphabet
from transformers_aura.decoding.lexicon import FORMS_PER_WORD, LexiconTrie


LATIN = CharacterAlphabet(LATIN_ALPHABET)
GERMAN = CharacterAlphabet(" abcdefghijklmnopqrstuvwxyzäöüß")
CYRILLIC = CharacterAlphabet(" абвгдеёжзийклмнопрстуфхцчшщъыьэюя")
MANY = CharacterAlphabet(" " + "".join(chr(0x4E00 + number) for number in range(5000)))

RANDOM_WORDS = ["".join(random.Random(seed).choices("abc", k=1 + seed % 5)) for seed in range(60)]
MANY_WORDS = ["".join(random.Random(seed).choices(MANY.characters[1:], k=1 + seed % 3)) for seed in range(400)]


def spelled(alphabet, word):
    return tuple(alphabet.encode(word))


@pytest.mark.parametrize(
    ("alphabet", "texts"),
    [
        (LATIN, ["the cat sat on the mat", "That's the cat's hat, isn't it?"]),
        (LATIN, [" ".join(RANDOM_WORDS)]),
        (GERMAN, ["Größe über alles, fünf Füße", "Übermut tut selten gut"]),
        (CYRILLIC, ["Ещё один день", "И ещё одна ночь"]),
        (MANY, [" ".join(MANY_WORDS)]),
    ],
    ids=["english", "random", "german", "cyrillic", "5,000 characters"],
)
def test_it_is_a_trie(alphabet, texts):
    lexicon = LexiconTrie.count(texts, alphabet)
    counts = Counter(spelled(alphabet, word.strip(",?")) for text in texts for word in text.split())
    assert dict(zip(lexicon.words, np.exp(lexicon.log_probabilities), strict=True)) == pytest.approx(
        {word: number / counts.total() for word, number in counts.items()}, rel=1e-5
    )
    # By hand: nested dicts, walked beside the arrays.
    nodes = {(): 0}
    prefixes = {word[:length] for word in counts for length in range(len(word) + 1)}
    symbols = np.arange(1, len(alphabet) + 3)
    for prefix in sorted(prefixes, key=len):
        (children,) = lexicon.children(np.array([nodes[prefix]]), symbols)
        assert lexicon.lookahead[nodes[prefix]] == pytest.approx(
            np.log(max(number for word, number in counts.items() if word[: len(prefix)] == prefix) / counts.total()),
            abs=1e-5,
        )
        for symbol, child in zip(symbols.tolist(), children.tolist(), strict=True):
            longer = (*prefix, symbol)
            assert (child != lexicon.nowhere) == (longer in prefixes)
            if longer in prefixes:
                nodes[longer] = child
    assert sorted(nodes.values()) == list(range(len(prefixes)))
    assert lexicon.nowhere == len(prefixes)
    assert lexicon.lookahead[lexicon.nowhere] == -np.inf
    everywhere = lexicon.children(np.array([lexicon.nowhere, 0]), symbols)
    assert (everywhere[0] == lexicon.nowhere).all()
    assert sum(array.nbytes for array in (lexicon._keys, lexicon.lookahead)) <= 16 * (
        len(prefixes) + 1
    )  # no dense table
    again = LexiconTrie.from_arrays(lexicon.to_arrays())
    assert again.words == lexicon.words
    assert {word: list(forms) for word, forms in again.forms.items()} == lexicon.forms
    np.testing.assert_allclose(again.log_probabilities, lexicon.log_probabilities, atol=1e-2)  # float16 in the file
    assert np.array_equal(
        again.children(np.arange(again.nowhere), symbols), lexicon.children(np.arange(again.nowhere), symbols)
    )


def test_forms_are_those_that_were_seen_often():
    texts = ["us"] * 60 + ["US"] * 30 + ["U.S."] * 8 + ["Us"] * 6 + ["uS"]
    lexicon = LexiconTrie.count(texts, LATIN)
    assert lexicon.forms == {spelled(LATIN, "us"): ["us", "US", "U.S."]}
    assert len(lexicon.forms[spelled(LATIN, "us")]) == FORMS_PER_WORD
    assert LexiconTrie.count(["it"] * 99 + ["IT"], LATIN).forms == {spelled(LATIN, "it"): ["it"]}


def test_what_the_alphabet_cannot_spell_is_left_out():
    lexicon = LexiconTrie.count(["room 7, café don’t ещё rock'n'roll"], LATIN)
    assert {form for forms in lexicon.forms.values() for form in forms} == {"room", "café", "don't", "rock'n'roll"}
    assert spelled(LATIN, "cafe") in lexicon.forms


def test_words_of_a_vocabulary_are_rarer_the_later_they_come():
    tokens = ["the", None, " the", " and", "ing", " 7", " new york", " The", " ...", " fox", " \n"]
    lexicon = LexiconTrie.of_vocabulary(tokens, LATIN)
    assert set(lexicon.words) == {spelled(LATIN, word) for word in ("the", "and", "fox")}
    assert lexicon.forms[spelled(LATIN, "the")] == ["the", "The"]
    by_word = dict(zip(lexicon.words, lexicon.log_probabilities.tolist(), strict=True))
    the, an, fox = (by_word[spelled(LATIN, word)] for word in ("the", "and", "fox"))
    assert the - an == pytest.approx(np.log((1 + 1 / 3) / (1 / 2)), abs=1e-3)
    assert an - fox == pytest.approx(np.log((1 / 2) / (1 / 4)), abs=1e-3)


def test_a_lexicon_without_words():
    for lexicon in (
        LexiconTrie.count([], LATIN),
        LexiconTrie.from_arrays(LexiconTrie.count(["7"], LATIN).to_arrays()),
    ):
        assert lexicon.words == []
        assert (lexicon.children(np.array([0]), np.array([1, 2, 3])) == lexicon.nowhere).all()


def test_a_word_keeps_its_marks():
    alphabet = CharacterAlphabet(" दनह\u093f\u0940\u094d")
    (word,) = LexiconTrie.count(["हिन्दी।"], alphabet).forms.values()
    assert word == ["हिन्दी"]
