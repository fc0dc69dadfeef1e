"""Scripts that are written without blanks between words."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from .alphabet import is_word_character


_WITHOUT_BLANKS = ("CJK", "HIRAGANA", "KATAKANA", "BOPOMOFO", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN")
"""How the names of their characters begin in Unicode. Korean is written with blanks."""


def is_written_without_blanks(text: str) -> bool:
    """Whether most characters of a text are of scripts that put no blanks between words, so that it has no words to count."""
    said = list(filter(is_word_character, text))
    return 2 * sum(unicodedata.name(character, "").startswith(_WITHOUT_BLANKS) for character in said) > len(said)


def joined(texts: Iterable[str]) -> str:
    """Texts one behind the other, with a blank between two where their script has blanks."""
    whole = ""
    for text in filter(None, texts):
        blank = whole and not (is_written_without_blanks(whole[-1]) and is_written_without_blanks(text[0]))
        whole += f" {text}" if blank else text
    return whole
