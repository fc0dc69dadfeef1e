"""Interpolated Kneser-Ney, against a computation by hand and against the laws of probability."""

import itertools
from collections import Counter, defaultdict

import numpy as np
import pytest

from transformers_aura.decoding.ngram import DISCOUNT, UNSEEN, TokenTrigram


SIZE, END = 9, 7
TEXTS = [[1, 2, 3, 1, 2], [1, 2, 3], [1, 2, 4], [5, 2, 3, 1], [1, 2, 3, 4, 4, 4], [6], []]


def ask(ngram, before, last, tokens):
    tokens = np.array(tokens)
    return ngram.log_probabilities(np.full(len(tokens), before), np.full(len(tokens), last), tokens)


def kneser_ney(texts, min_trigram_count):
    """P(token | before, last) by dicts, as the paper has it; what is left out of a context goes to the shorter one."""
    trigrams = Counter(
        row[place - 2 : place + 1]
        for text in texts
        for row in [(END, END, *text, END)]
        for place in range(2, len(row))
    )
    bigrams = Counter((last, token) for _, last, token in trigrams)
    unigrams = Counter(token for _, token in bigrams)
    followers = defaultdict(Counter)
    for (before, last, token), number in trigrams.items():
        followers[before, last][token] = number
    after = defaultdict(Counter)
    for (last, token), number in bigrams.items():
        after[last][token] = number

    def of_unigram(token):
        return unigrams[token] / unigrams.total() if token in unigrams else np.exp(UNSEEN)

    def of_bigram(last, token):
        if last not in after:
            return of_unigram(token)
        context = after[last]
        weight = DISCOUNT * len(context) / context.total()
        return max(context[token] - DISCOUNT, 0) / context.total() + weight * of_unigram(token)

    def of_trigram(before, last, token):
        if (before, last) not in followers:
            return of_bigram(last, token)
        context = followers[before, last]
        kept = {of_one: number for of_one, number in context.items() if number >= min_trigram_count}
        weight = 1 - sum(number - DISCOUNT for number in kept.values()) / context.total()
        return max(kept.get(token, 0) - DISCOUNT, 0) / context.total() + weight * of_bigram(last, token)

    return of_trigram


@pytest.mark.parametrize("min_trigram_count", [1, 2])
@pytest.mark.parametrize("texts", [TEXTS, [[1, 2, 3, 1, 2]]], ids=["seven texts", "five words"])
def test_it_is_kneser_ney_in_every_context(texts, min_trigram_count):
    ngram = TokenTrigram.count(texts, SIZE, END, min_trigram_count)
    by_hand = kneser_ney(texts, min_trigram_count)
    for before, last in itertools.product(range(SIZE), repeat=2):
        found = np.exp(ask(ngram, before, last, range(SIZE)))
        expected = [by_hand(before, last, token) for token in range(SIZE)]
        np.testing.assert_allclose(found, expected, rtol=1e-2, err_msg=f"{before} {last}")  # float16 in the arrays
        assert found.sum() == pytest.approx(1, abs=5e-3), (before, last)


def test_by_a_computation_on_paper():
    ngram = TokenTrigram.count([[1, 2, 3, 1, 2]], SIZE, END)
    # Six trigrams, each seen once: none is kept. Bigrams of different contexts: 71 12 23 31 27, and 12 twice: behind 7 and behind 3.
    # Unigrams of different contexts: 1 behind 7 and 3, 2 behind 1, 3 and 7 behind 2.
    assert np.exp(ask(ngram, 8, 8, [1, 2, 3, 7])) == pytest.approx([2 / 5, 1 / 5, 1 / 5, 1 / 5], rel=1e-2)
    # Behind 2: 3 and 7 once each, so 0.25 / 2 each, and 0.75 is left for what is likely anywhere.
    expected = [0.75 * 2 / 5, 0.75 / 5, 0.125 + 0.75 / 5, 0.125 + 0.75 / 5]
    assert np.exp(ask(ngram, 8, 2, [1, 2, 3, 7])) == pytest.approx(expected, rel=1e-2)


def test_frequent_trigrams_are_likelier_than_their_bigrams():
    ngram = TokenTrigram.count(TEXTS, SIZE, END)
    likelier, behind_another = ask(ngram, 1, 2, [3])[0], ask(ngram, 8, 2, [3])[0]
    assert likelier > behind_another
    assert ask(ngram, END, END, [1])[0] > ask(ngram, END, END, [6])[0]  # texts begin with 1


def test_a_large_vocabulary():
    size = 150_000
    texts = [[size - 1, size - 2, size - 1], [size - 1, size - 2, 0]] * 2
    ngram = TokenTrigram.count(texts, size, size - 3)
    found = np.exp(ask(ngram, size - 1, size - 2, [size - 1, 0, 5]))
    assert found[0] == pytest.approx(found[1], rel=0.2)
    assert found[2] < 1e-6


def test_no_text_at_all():
    ngram = TokenTrigram.count([[]], SIZE, END)
    assert np.exp(ask(ngram, END, END, [END]))[0] == pytest.approx(1, rel=1e-2)
