"""The alphabet of a character CTC head: which symbol of the head stands for which character of a transcript."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable


BLANK = 0
"""The symbol of CTC that stands for nothing."""

GAP = 1
"""The symbol of the gap between two words: the first character of every alphabet is the space."""

LATIN_ALPHABET = " abcdefghijklmnopqrstuvwxyz'"
"""The default: what English is spelled with where numbers are written out."""


CHARACTER_COVERAGE = 0.9999
"""Share of all characters of some texts that the alphabet of these texts spells; the rarest characters are left out. SentencePiece has the same setting."""


class CharacterAlphabet:
    """The characters that a character CTC head tells apart, lower case.

    Args:
        characters: the alphabet, a space first; symbol 0 of the head is the blank, symbol `n` the `n`th character.

    Raises:
        ValueError: the first character is no space, one stands there twice, or one is an upper-case letter.
    """

    def __init__(self, characters: str) -> None:
        if not characters.startswith(" ") or len(characters) < 2:
            raise ValueError(
                f"An alphabet begins with a space, which stands for the gap between two words, and goes on with characters; got {characters!r}."
            )
        repeated = sorted({character for character in characters if characters.count(character) > 1})
        if repeated:
            raise ValueError(f"The alphabet {characters!r} holds {', '.join(map(repr, repeated))} more than once.")
        if characters.lower() != characters:
            raise ValueError(
                f"The alphabet {characters!r} holds upper-case letters: transcripts are read in lower case."
            )
        self.characters = characters
        self._symbols = {character: symbol for symbol, character in enumerate(characters, start=1)}

    def __len__(self) -> int:
        """Symbols of the head, the blank among them."""
        return 1 + len(self.characters)

    def symbol(self, character: str) -> int | None:
        """The symbol of one lower-case character; a letter with an accent that is not in the alphabet is read without it. `None` = not in the alphabet."""
        if character in self._symbols:
            return self._symbols[character]
        plain = unicodedata.normalize("NFKD", character)[0]
        return self._symbols.get(plain)

    def encode(self, text: str) -> list[int] | None:
        """
        The symbols of a transcript: lower case; punctuation that is not in the alphabet is a gap.

        Returns:
            `None` for a text with a letter or digit that the alphabet lacks: how it is said is not known.
        """
        symbols: list[int] = []
        for character in normalize(text):
            symbol = self.symbol(character)
            if symbol is None:
                if is_word_character(character):
                    return None
                symbol = GAP
            if symbol != GAP or (symbols and symbols[-1] != GAP):
                symbols.append(symbol)
        return symbols[:-1] if symbols and symbols[-1] == GAP else symbols

    def decode(self, symbols: Iterable[int]) -> str:
        """The text that symbols spell, without gaps around it."""
        return " ".join("".join(self.characters[symbol - 1] for symbol in symbols).split())


def alphabet_of(texts: Iterable[str], coverage: float = CHARACTER_COVERAGE) -> str:
    """
    The alphabet of the writing of some texts: a space, then the characters of their words in the order of Unicode.

    An apostrophe within a word is one of them (`don't`, `м'який`); other punctuation is not said. A letter with a mark that is left out as too rare is read
    without the mark.

    Args:
        texts: transcripts.
        coverage: share of all these characters that is kept, the most frequent ones first.

    Raises:
        ValueError: no text has a word.
    """
    counts: Counter[str] = Counter()
    for text in texts:
        written = normalize(text)
        counts.update(filter(is_word_character, written))
        counts["'"] += sum(
            before.isalpha() and character == "'" and behind.isalpha()
            for before, character, behind in zip(written, written[1:], written[2:], strict=False)
        )
    most = coverage * counts.total()
    kept, seen = [], 0
    for character, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        if not count or seen >= most:
            break
        kept.append(character)
        seen += count
    if not kept:
        raise ValueError("None of the texts has a word, so there is no alphabet of them.")
    return " " + "".join(sorted(kept))


def normalize(text: str) -> str:
    """A text as alphabets read it: lower case, composed characters (NFC), plain apostrophes, without invisible characters (soft hyphens, joiners, marks of direction)."""
    composed = unicodedata.normalize("NFC", text.lower().replace("’", "'").replace("i\u0307", "i"))
    return "".join(character for character in composed if unicodedata.category(character) != "Cf")


def is_word_character(character: str) -> bool:
    """Whether a character is said: a letter, a mark on one, or a digit of any script. Punctuation and blanks are not."""
    return unicodedata.category(character)[0] in "LMN"
