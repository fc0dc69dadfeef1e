"""The alphabet of a character CTC head: which symbol of the head stands for which character of a transcript."""

from __future__ import annotations

import unicodedata


BLANK = 0
"""The symbol of CTC that stands for nothing."""

GAP = 1
"""The symbol of the gap between two words: the first character of every alphabet is the space."""

LATIN_ALPHABET = " abcdefghijklmnopqrstuvwxyz'"
"""The default: what English is spelled with where numbers are written out."""


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


def normalize(text: str) -> str:
    """A text as alphabets read it: lower case, composed characters, plain apostrophes."""
    return unicodedata.normalize("NFC", text.lower().replace("’", "'"))


def is_word_character(character: str) -> bool:
    """Whether a character is said: a letter, a mark on one, or a digit of any script. Punctuation and blanks are not."""
    return unicodedata.category(character)[0] in "LMN"
