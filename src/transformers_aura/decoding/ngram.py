"""A token n-gram: the cheap language model of the first pass of a transcript, counted on text and looked up in sorted arrays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray


DISCOUNT = 0.75
"""Absolute discount of every count."""

UNSEEN = -20.0
"""Natural log of the probability of a token that the text does not hold."""


class TokenTrigram:
    """
    Trigram over an LLM's tokens, with interpolated Kneser-Ney smoothing.

    Ney, Essen and Kneser, "On structuring probabilistic dependences in stochastic language modelling" (Computer Speech and Language, 1994), in the
    back-off layout of ARPA files: a trigram that was seen has its probability, any other that of its bigram times the weight of its context.

    Args:
        vocabulary_size: token ids lie below it.
        arrays: `unigrams` and `unigram_backoffs`, float32 of shape `(vocabulary_size,)`; `bigrams` and `trigrams`, sorted int64 keys (ids as digits
            to the base `vocabulary_size`); `bigram_log_probabilities`, `bigram_backoffs`, `trigram_log_probabilities`, float16.
    """

    def __init__(self, vocabulary_size: int, arrays: dict[str, NDArray]) -> None:
        self.vocabulary_size = vocabulary_size
        self.arrays = arrays
        self._unigrams = arrays["unigrams"].astype(np.float32)
        self._unigram_backoffs = arrays["unigram_backoffs"].astype(np.float32)
        self._bigrams, self._trigrams = arrays["bigrams"], arrays["trigrams"]
        # The last value is that of what is absent: it has the place -1.
        self._bigram_log_probabilities, self._bigram_backoffs, self._trigram_log_probabilities = (
            np.append(arrays[name].astype(np.float32), np.float32(0))
            for name in ("bigram_log_probabilities", "bigram_backoffs", "trigram_log_probabilities")
        )

    @classmethod
    def count(
        cls, texts: Iterable[Sequence[int]], vocabulary_size: int, end: int, min_trigram_count: int = 2
    ) -> TokenTrigram:
        """
        Counts texts.

        Args:
            texts: token ids of each, without an end.
            vocabulary_size: token ids lie below it.
            end: id of the token that ends a text; it also stands before its first token.
            min_trigram_count: trigrams that were seen less often are left out, which keeps the file small.
        """
        flat: list[int] = []
        heads: list[int] = []
        for text in texts:
            heads.append(len(flat))
            flat += [end, end, *text, end]
        ids = np.array(flat, dtype=np.int64)
        size = vocabulary_size
        is_predicted = np.ones(len(ids), dtype=bool)
        for offset in (0, 1):  # nothing predicts the two before a text
            is_predicted[np.array(heads, dtype=np.int64) + offset] = False
        place = np.flatnonzero(is_predicted)
        trigrams, counts3 = np.unique((ids[place - 2] * size + ids[place - 1]) * size + ids[place], return_counts=True)
        # Below the highest order, counts are of different contexts (Kneser-Ney).
        bigrams, counts2 = np.unique(trigrams % (size * size), return_counts=True)
        words, counts1 = np.unique(bigrams % size, return_counts=True)

        unigrams = np.full(size, UNSEEN, dtype=np.float64)
        unigrams[words] = np.log(counts1 / counts1.sum())
        contexts1 = bigrams // size
        totals1 = np.bincount(contexts1, weights=counts2, minlength=size)
        kinds1 = np.bincount(contexts1, minlength=size)
        backoff1 = np.where(totals1 > 0, DISCOUNT * kinds1 / np.maximum(totals1, 1), 1.0)
        probability2 = (counts2 - DISCOUNT) / totals1[contexts1] + backoff1[contexts1] * np.exp(
            unigrams[bigrams % size]
        )
        start = end * size + end  # what stands before a text has a back-off weight too
        where = int(np.searchsorted(bigrams, start))
        if not (bigrams[where : where + 1] == start).any():
            bigrams = np.insert(bigrams, where, start)
            probability2 = np.insert(probability2, where, backoff1[end] * np.exp(unigrams[end]))

        contexts2, where2 = np.unique(trigrams // size, return_inverse=True)
        totals2 = np.bincount(where2, weights=counts3)
        kept = counts3 >= min_trigram_count
        # What is left out of a context goes to its back-off weight.
        mass = np.bincount(where2, weights=np.where(kept, counts3 - DISCOUNT, 0.0))
        backoff2 = 1.0 - mass / totals2
        lower = probability2[np.searchsorted(bigrams, trigrams % (size * size))]
        probability3 = (counts3 - DISCOUNT) / totals2[where2] + backoff2[where2] * lower
        bigram_backoffs = np.zeros(len(bigrams))
        bigram_backoffs[np.searchsorted(bigrams, contexts2)] = np.log(backoff2)
        return cls(
            vocabulary_size,
            {
                "unigrams": unigrams.astype(np.float32),
                "unigram_backoffs": np.log(backoff1).astype(np.float32),
                "bigrams": bigrams,
                "bigram_log_probabilities": np.log(probability2).astype(np.float16),
                "bigram_backoffs": bigram_backoffs.astype(np.float16),
                "trigrams": trigrams[kept],
                "trigram_log_probabilities": np.log(probability3[kept]).astype(np.float16),
            },
        )

    def log_probabilities(
        self, before: NDArray[np.int64], last: NDArray[np.int64], tokens: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """
        Natural log of the probability of each token behind two others.

        Args:
            before, last, tokens (`(n,)`): ids of the last token but one, of the last one, and of the token itself.
        """
        size = self.vocabulary_size
        bigram_keys = last * size + tokens
        of_bigram = self._lookup(self._bigrams, bigram_keys)
        result = np.where(
            of_bigram >= 0,
            self._bigram_log_probabilities[of_bigram],
            self._unigram_backoffs[last] + self._unigrams[tokens],
        )
        context = before * size + last
        of_context = self._lookup(self._bigrams, context)
        result = result + self._bigram_backoffs[of_context]
        of_trigram = self._lookup(self._trigrams, context * size + tokens)
        return np.where(of_trigram >= 0, self._trigram_log_probabilities[of_trigram], result).astype(np.float32)

    @staticmethod
    def _lookup(sorted_keys: NDArray[np.int64], keys: NDArray[np.int64]) -> NDArray[np.int64]:
        """The place of each key, -1 where it is absent."""
        if not len(sorted_keys):
            return np.full(len(keys), -1)
        place = np.minimum(np.searchsorted(sorted_keys, keys), len(sorted_keys) - 1)
        return np.where(sorted_keys[place] == keys, place, -1)
