"""What a search knows of text before any audio: a lexicon and a token n-gram, counted on text, in one small file."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from .alphabet import GAP, CharacterAlphabet
from .lexicon import LexiconTrie
from .ngram import TokenTrigram


TEXT_STATISTICS_FILE_NAME = "text_statistics.safetensors"


@dataclass(frozen=True)
class TextStatistics:
    """
    A lexicon and a token n-gram.

    Attributes:
        lexicon: words as the student's alphabet spells them.
        ngram: over the LLM's tokens.
        end: id of the token that ends a text.
    """

    lexicon: LexiconTrie
    ngram: TokenTrigram
    end: int

    @classmethod
    def count(
        cls,
        texts: Sequence[str],
        token_ids: Iterable[Sequence[int]],
        alphabet: CharacterAlphabet,
        vocabulary_size: int,
        end: int,
    ) -> TextStatistics:
        """
        Counts texts.

        Args:
            texts: one utterance each, as transcripts write it.
            token_ids: of each text, without an end.
            alphabet: of the character CTC head.
            vocabulary_size: token ids lie below it.
            end: id of the token that ends a text.
        """
        ngram = TokenTrigram.count(token_ids, vocabulary_size, end)
        return cls(LexiconTrie.count(texts, alphabet), ngram, end)

    def save(self, path: str | os.PathLike) -> None:
        """Writes one safetensors file."""
        arrays = {**self.ngram.arrays, **self.lexicon.to_arrays()}
        arrays["end"] = np.array([self.end], dtype=np.int64)
        arrays["vocabulary_size"] = np.array([self.ngram.vocabulary_size], dtype=np.int64)
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, os.fspath(path))

    @classmethod
    def load(cls, path: str | os.PathLike, vocabulary_size: int) -> TextStatistics:
        """
        Reads what [`save`] wrote.

        Args:
            path: of the file.
            vocabulary_size: of the LLM that they are to serve.

        Raises:
            ValueError: the file cannot be read, holds what cannot be right, or was counted with another LLM's tokens.
        """
        try:
            arrays = load_file(os.fspath(path))
            size, end = int(arrays["vocabulary_size"][0]), int(arrays["end"][0])
            _check(arrays, size, end)
            lexicon, ngram = LexiconTrie.from_arrays(arrays), TokenTrigram(size, arrays)
        except (SafetensorError, KeyError, ValueError, TypeError, IndexError) as error:
            raise ValueError(
                f"{path} cannot be read as text statistics ({error}): count them again with `aura count-text`, or delete the file."
            ) from error
        if size != vocabulary_size:
            raise ValueError(
                f"{path} was counted on the tokens of an LLM with {size} tokens, this student's has {vocabulary_size}."
            )
        return cls(lexicon, ngram, end)


_LENGTHS = {
    "unigrams": "vocabulary",
    "unigram_backoffs": "vocabulary",
    "bigrams": "bigrams",
    "bigram_log_probabilities": "bigrams",
    "bigram_backoffs": "bigrams",
    "trigrams": "trigrams",
    "trigram_log_probabilities": "trigrams",
    "word_lengths": "words",
    "word_log_probabilities": "words",
}
"""Arrays of the same length, each of one dimension."""

_LOG_PROBABILITIES_AT_MOST = 0.01
"""Rounding may lift one above 0."""


def _check(arrays: Mapping[str, NDArray], size: int, end: int) -> None:
    """Raises `ValueError` for arrays that no text gives, naming one."""
    if not 0 <= end < size:
        raise ValueError(f"the end of a text has the id {end}, but there are {size} tokens")
    lengths = {"vocabulary": size}
    for name, kind in _LENGTHS.items():
        if arrays[name].ndim != 1 or len(arrays[name]) != lengths.setdefault(kind, len(arrays[name])):
            raise ValueError(f"`{name}` has the shape {arrays[name].shape}, not ({lengths[kind]},)")
    for name in _LENGTHS:
        values = arrays[name]
        if name in ("bigrams", "trigrams"):
            most = size ** (2 if name == "bigrams" else 3)
            if values.dtype != np.int64 or not (
                (np.diff(values) > 0).all() and (values >= 0).all() and (values < most).all()
            ):
                raise ValueError(f"`{name}` are no sorted keys of {size} tokens")
        elif name != "word_lengths" and not (
            np.issubdtype(values.dtype, np.floating)
            and np.isfinite(values).all()
            and (values <= _LOG_PROBABILITIES_AT_MOST).all()
        ):
            raise ValueError(f"`{name}` are no logarithms of probabilities")
    symbols = arrays["word_symbols"]
    if int(arrays["word_lengths"].sum(dtype=np.int64)) != len(symbols) or (arrays["word_lengths"] == 0).any():
        raise ValueError(f"`word_lengths` do not divide the {len(symbols)} symbols of `word_symbols`")
    if not np.issubdtype(symbols.dtype, np.integer) or (symbols <= GAP).any():
        raise ValueError("`word_symbols` are no characters of words")
