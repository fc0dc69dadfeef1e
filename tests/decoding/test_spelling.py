"""What an alphabet cannot spell is counted, and said."""

from transformers_aura.decoding.alphabet import LATIN_ALPHABET, CharacterAlphabet, alphabet_of
from transformers_aura.decoding.spelling import SpellingReport


TEXTS = ["Schöne Grüße", "Der Bär, der Bär", "Haus", "Raum 7 und 8"]


def test_the_default_alphabet_and_german() -> None:
    report = SpellingReport.of_texts(TEXTS, CharacterAlphabet(LATIN_ALPHABET))
    assert (report.num_texts, report.num_left_out) == (4, 2)
    assert report.missing == {"ß": 1, "7": 1, "8": 1}
    assert report.without_mark == {"ö": 1, "ü": 1, "ä": 1}
    first, lost, read = report.lines()
    assert "spells 2 of 4 transcripts" in first
    assert "ß (1 row)" in lost
    assert "ä as a (1 row)" in read


def test_the_alphabet_of_the_texts_spells_them_all() -> None:
    report = SpellingReport.of_texts(TEXTS, CharacterAlphabet(alphabet_of(TEXTS)))
    assert not report.num_left_out
    assert len(list(report.lines())) == 1


def test_only_the_most_frequent_are_named() -> None:
    letters = "".join(chr(ord("а") + number) for number in range(30))
    *_, lost = SpellingReport.of_texts(["я", letters], CharacterAlphabet(LATIN_ALPHABET)).lines()
    assert lost.startswith("  cannot spell я (2 rows)" if "я" in letters else "  cannot spell ")
    assert "and 11 more" in lost or "and 10 more" in lost
