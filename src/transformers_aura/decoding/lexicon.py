"""The words that a search knows: how each is spelled, in which forms it is written, how likely it is; as a trie over the symbols of an alphabet."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

import numpy as np
import regex
from numpy.typing import NDArray

from .alphabet import GAP, CharacterAlphabet


FORMS_PER_WORD = 3
"""Ways to write a word that are kept, the most frequent ones: `us`, `US`, `U.S.`"""

RAREST_FORM = 0.02
"""Share of a word's occurrences below which a form is left out."""

_WORD = regex.compile(r"(?:\p{L}\.){2,}|[\p{L}\p{M}\p{N}\p{Cf}]+(?:['’][\p{L}\p{M}\p{N}\p{Cf}]+)*")

Word = tuple[int, ...]
"""Symbols of a word, without gaps."""


class LexiconTrie:
    """
    Words as a trie. Node 0 stands before the first symbol.

    Args:
        words: symbols of each word, see [`~transformers_aura.decoding.alphabet.CharacterAlphabet`].
        log_probabilities (`(words,)`): natural log of the probability of each.
        forms: ways to write each, the most frequent first.
    """

    def __init__(
        self, words: Sequence[Word], log_probabilities: NDArray[np.floating], forms: Sequence[Sequence[str]]
    ) -> None:
        self.words = list(words)
        self.log_probabilities = np.asarray(log_probabilities, dtype=np.float32)
        self.forms: dict[Word, Sequence[str]] = dict(zip(self.words, forms, strict=True))
        self._build()

    def _build(self) -> None:
        lengths = np.fromiter(map(len, self.words), dtype=np.int64, count=len(self.words))
        of_words = np.fromiter(chain.from_iterable(self.words), dtype=np.int64, count=int(lengths.sum()))
        self.largest_symbol = int(of_words.max(initial=0))
        """Of all words; 0 = there are none."""
        self._num_symbols = 1 + self.largest_symbol
        symbols = np.zeros((len(self.words), int(lengths.max(initial=0))), dtype=np.int64)
        symbols[np.arange(symbols.shape[1]) < lengths[:, None]] = of_words
        nodes = np.zeros(len(self.words), dtype=np.int64)
        keys: list[NDArray[np.int64]] = []
        best = [np.array([self.log_probabilities.max(initial=-np.inf)], dtype=np.float32)]
        num_nodes = 1
        for depth in range(symbols.shape[1]):
            rows = np.flatnonzero(lengths > depth)
            level, places = np.unique(nodes[rows] * self._num_symbols + symbols[rows, depth], return_inverse=True)
            nodes[rows] = num_nodes + places
            likeliest = np.full(len(level), -np.inf, dtype=np.float32)
            np.maximum.at(likeliest, places, self.log_probabilities[rows])
            keys.append(level)
            best.append(likeliest)
            num_nodes += len(level)
        # Nodes are numbered level by level and parents before children, so all keys together are sorted.
        self._keys = np.concatenate(keys) if keys else np.zeros(0, dtype=np.int64)
        self.lookahead = np.append(np.concatenate(best), -np.inf)
        """Natural log of the probability of the likeliest word through each node, `(nodes + 1,)`; -inf at `nowhere`."""
        self.nowhere = num_nodes
        """The node of what no word begins with."""

    def children(self, nodes: NDArray[np.int64], symbols: NDArray[np.int64]) -> NDArray[np.int64]:
        """
        The node that each symbol leads to from each node, or `nowhere`.

        Args:
            nodes (`(n,)`), symbols (`(m,)`): of any number each.

        Returns:
            `(n, m)`.
        """
        if not len(self._keys):
            return np.full((len(nodes), len(symbols)), self.nowhere)
        wanted = nodes[:, None] * self._num_symbols + symbols[None]
        places = np.minimum(np.searchsorted(self._keys, wanted), len(self._keys) - 1)
        found = (self._keys[places] == wanted) & (symbols < self._num_symbols)[None] & (nodes < self.nowhere)[:, None]
        return np.where(found, places + 1, self.nowhere)

    @classmethod
    def count(cls, texts: Iterable[str], alphabet: CharacterAlphabet) -> LexiconTrie:
        """The words of texts; those with a character that the alphabet lacks are left out."""
        counts: dict[Word, Counter[str]] = defaultdict(Counter)
        for text in texts:
            for form in _WORD.findall(text):
                symbols = alphabet.encode(form.replace(".", ""))
                if symbols and GAP not in symbols:
                    counts[tuple(symbols)][form.replace("’", "'")] += 1
        return cls.of_counts(counts)

    @classmethod
    def of_counts(cls, counts: Mapping[Word, Counter[str]]) -> LexiconTrie:
        """Words by how often each form of each was seen."""
        words = sorted(counts)
        totals = np.array([counts[word].total() for word in words], dtype=float)
        forms = [
            [form for form, number in counts[word].most_common(FORMS_PER_WORD) if number >= RAREST_FORM * total]
            for word, total in zip(words, totals, strict=True)
        ]
        return cls(words, np.log(totals / max(totals.sum(), 1.0)), forms)

    @classmethod
    def of_vocabulary(cls, tokens: Iterable[str | None], alphabet: CharacterAlphabet) -> LexiconTrie:
        """
        The words that are one token of an LLM, for where no text was counted.

        Tokenizers number their tokens by how frequent they were, so the n-th word is taken to be 1/n as likely as the first (Zipf's law).

        Args:
            tokens: text of each token id, with the space before it where there is one; `None` where it is no text.
        """
        counts: dict[Word, Counter[str]] = defaultdict(Counter)
        rank = 0
        for token in tokens:
            if token is None or not token.startswith(" ") or not _WORD.fullmatch(token[1:]):
                continue
            symbols = alphabet.encode(token[1:])
            if symbols and GAP not in symbols:
                rank += 1
                counts[tuple(symbols)][token[1:]] += max(1, 10_000_000 // rank)
        return cls.of_counts(counts)

    def to_arrays(self) -> dict[str, NDArray]:
        """As arrays that a file holds; [`from_arrays`] reads them."""
        forms = [self.forms[word] for word in self.words]
        return {
            "word_symbols": np.array([symbol for word in self.words for symbol in word], dtype=np.uint16),
            "word_lengths": np.array([len(word) for word in self.words], dtype=np.uint8),
            "word_log_probabilities": self.log_probabilities.astype(np.float16),
            "word_forms": np.frombuffer("\n".join("\t".join(of_word) for of_word in forms).encode(), dtype=np.uint8),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray]) -> LexiconTrie:
        """What [`to_arrays`] wrote."""
        symbols = arrays["word_symbols"].tolist()
        ends = np.cumsum(arrays["word_lengths"], dtype=np.int64).tolist()
        words = [tuple(symbols[first:end]) for first, end in zip([0, *ends], ends, strict=False)]
        forms = [line.split("\t") for line in arrays["word_forms"].tobytes().decode().split("\n")]
        return cls(words, arrays["word_log_probabilities"], forms if words else [])
