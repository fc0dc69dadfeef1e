"""What an alphabet makes of transcripts: which it cannot spell and for which characters, and which letters it reads without their marks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from .alphabet import CharacterAlphabet, is_word_character, normalize


MOST_NAMED = 20
"""Characters that a report names, the most frequent ones."""


@dataclass(frozen=True)
class SpellingReport:
    """
    Some transcripts, as an alphabet spells them.

    Attributes:
        alphabet: the characters.
        num_texts: transcripts.
        num_left_out: transcripts that it cannot spell, with which CTC on characters teaches nothing.
        missing: for which characters, and in how many transcripts each of them is.
        without_mark: letters that are read as another one, without their mark (`ä` as `a`), and in how many transcripts each of them is.
    """

    alphabet: CharacterAlphabet
    num_texts: int
    num_left_out: int
    missing: Counter[str]
    without_mark: Counter[str]

    @classmethod
    def of_texts(cls, texts: Iterable[str], alphabet: CharacterAlphabet) -> SpellingReport:
        """The report on some transcripts."""
        num_texts = num_left_out = 0
        missing: Counter[str] = Counter()
        without_mark: Counter[str] = Counter()
        for text in texts:
            characters = {character for character in normalize(text) if character not in alphabet.characters}
            words = set(filter(is_word_character, characters))
            lost = {character for character in words if alphabet.symbol(character) is None}
            missing.update(lost)
            without_mark.update(words - lost)
            num_texts += 1
            num_left_out += bool(lost)
        return cls(alphabet, num_texts, num_left_out, missing, without_mark)

    def lines(self) -> Iterator[str]:
        """The report for people."""
        characters = self.alphabet.characters
        spelled = self.num_texts - self.num_left_out
        yield f"alphabet of {len(characters)} characters {characters!r} spells {spelled:,} of {self.num_texts:,} transcripts"
        if self.missing:
            yield f"  cannot spell {_named(self.missing)}; CTC on characters leaves these transcripts out"
        if self.without_mark:
            read_as = {
                f"{character} as {characters[(self.alphabet.symbol(character) or 0) - 1]}": count
                for character, count in self.without_mark.items()
            }
            yield f"  reads without the mark {_named(Counter(read_as))}"


def _named(counts: Counter[str]) -> str:
    """What was counted, the most frequent first: `ß (12 rows), 7 (1 row)`."""
    named = [f"{what} ({count:,} row{'s' if count > 1 else ''})" for what, count in counts.most_common(MOST_NAMED)]
    more = len(counts) - len(named)
    return ", ".join(named) + (f" and {more:,} more" if more else "")
