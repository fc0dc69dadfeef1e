"""How the tokens of an LLM are spelled: which letters each adds to a text, and which tokens go on with given letters."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from transformers import PreTrainedTokenizerBase

from ..decoding.alphabet import LATIN_ALPHABET


LETTERS = LATIN_ALPHABET
"""Of which transcripts consist for the ears: symbol 1 is the gap between two words, symbol 0 the blank of CTC."""

GAP = 1

UNSPELLED = 1 + len(LETTERS)
"""Stands for digits: how a number is said is not written in it."""

BEFORE_A_NUMBER = "$£€#(-–/'\""
"""What a number may begin behind, besides a space: not behind a letter or the end of a sentence."""

ROMAN_NUMERAL = re.compile(r" ?[IVX]{2,}")


class Piece(NamedTuple):
    """What a token adds to a text.

    Attributes:
        begins_apart: whether a gap lies between its first letter and the letter before.
        symbols: of [`LETTERS`], or [`UNSPELLED`]; a gap between two words among them.
        ends_apart: whether a gap lies between its last letter and the next one.
    """

    begins_apart: bool
    symbols: tuple[int, ...]
    ends_apart: bool


def spell(text: str) -> Piece:
    """The letters of a text in lower case, accents dropped; everything else is a gap."""
    symbols: list[int] = []
    apart = begins_apart = False
    for character in unicodedata.normalize("NFKD", text.lower().replace("’", "'")):
        if unicodedata.combining(character):
            continue
        symbol = UNSPELLED if character.isdigit() else 1 + LETTERS.find(character)
        if symbol in (0, GAP):
            apart = True
            continue
        if apart and symbols:
            symbols.append(GAP)
        elif not symbols:
            begins_apart = apart
        symbols.append(symbol)
        apart = False
    return Piece(begins_apart if symbols else apart, tuple(symbols), apart)


class SpelledVocabulary:
    """The tokens of a tokenizer by their letters, as a trie.

    Nodes are numbers; the children of one stand together. Only tokens of letters, behind a gap or not, are in it; `others` adds the rest of what
    may stand in a transcript.

    Args:
        texts: of each token id; `None` where it is no text.
    """

    def __init__(self, texts: Iterable[str | None]) -> None:
        self.pieces: dict[int, Piece] = {}
        self.others: set[int] = set()
        """Tokens of punctuation, of digits and of Roman numerals."""
        self.before_numbers: set[int] = set()
        """Tokens behind which a number may begin at once."""
        nested: dict[bool, dict] = {True: {}, False: {}}
        for token, text in enumerate(texts):
            if not text or not text.isprintable():
                continue
            piece = spell(text)
            if ROMAN_NUMERAL.fullmatch(text):
                piece = Piece(piece.begins_apart, (UNSPELLED,), False)
            body = text.removeprefix(" ")
            is_word = piece.symbols and UNSPELLED not in piece.symbols and GAP not in piece.symbols
            if is_word and not piece.ends_apart and piece.begins_apart == (body != text):
                node = nested[piece.begins_apart]
                for symbol in piece.symbols:
                    node = node.setdefault(symbol, {})
                node.setdefault(None, []).append(token)
            elif text.isascii() and all(symbol == UNSPELLED for symbol in piece.symbols):
                self.others.add(token)
            else:
                continue
            self.pieces[token] = piece
            if text[-1].isspace() or text[-1] in BEFORE_A_NUMBER:
                self.before_numbers.add(token)
        self._flatten(nested)

    def _flatten(self, nested: dict[bool, dict]) -> None:
        nodes = [nested[False], nested[True]]
        self.roots = {False: 0, True: 1}
        """The node before the first letter of all that begins at once, and of all that begins behind a gap."""
        first_child, num_children, symbols, tokens = [], [], [0, 0], []
        for node in nodes:  # grows while it is read
            children = sorted(symbol for symbol in node if symbol is not None)
            first_child.append(len(nodes))
            num_children.append(len(children))
            tokens.append(node.get(None, []))
            symbols += children
            nodes += [node[symbol] for symbol in children]
        self.first_child = np.array(first_child)
        self.num_children = np.array(num_children)
        self.symbols = np.array(symbols)
        """The letter that leads to each node."""
        self.tokens = tokens
        """Those that end at each node."""

    def children(self, nodes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The children of all of some nodes, and of which (its place among `nodes`) each is one."""
        counts = self.num_children[nodes]
        parents = np.repeat(np.arange(len(nodes)), counts)
        within = np.arange(len(parents)) - np.repeat(np.cumsum(counts) - counts, counts)
        return self.first_child[nodes][parents] + within, parents


def spelled_vocabulary(tokenizer: PreTrainedTokenizerBase, size: int) -> SpelledVocabulary:
    """The vocabulary of an LLM.

    Args:
        tokenizer: of the LLM.
        size: of the LLM's vocabulary; what the tokenizer has beyond it is left out.
    """
    pieces = tokenizer.convert_ids_to_tokens(range(min(size, len(tokenizer))))
    before = tokenizer.convert_ids_to_tokens(tokenizer("a", add_special_tokens=False).input_ids)
    start = tokenizer.convert_tokens_to_string(before)
    special = set(tokenizer.all_special_tokens) | {token.content for token in tokenizer.added_tokens_decoder.values()}

    def text(piece: str | None) -> str | None:
        if piece is None or piece in special:
            return None
        whole = tokenizer.convert_tokens_to_string([*before, piece])
        return whole[len(start) :] if whole.startswith(start) and "�" not in whole else None

    return SpelledVocabulary(text(piece) for piece in pieces)
