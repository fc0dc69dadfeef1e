import pytest

from transformers_aura.decoding.alphabet import (
    BLANK,
    GAP,
    LATIN_ALPHABET,
    CharacterAlphabet,
    is_word_character,
    normalize,
)


LATIN = CharacterAlphabet(LATIN_ALPHABET)


def read(alphabet, symbols):
    return "".join(alphabet.characters[symbol - 1] for symbol in symbols)


def test_symbols_are_numbered_behind_the_blank():
    assert (BLANK, GAP) == (0, 1)
    assert len(LATIN) == 29
    assert LATIN.symbol(" ") == GAP
    assert [LATIN.symbol(character) for character in "az'"] == [2, 27, 28]
    assert LATIN.symbol("1") is None


@pytest.mark.parametrize(
    ("text", "read_as"),
    [
        ("What is that?", "what is that"),
        ("  Well -- no...  ", "well no"),
        ("don’t", "don't"),
        ("Café, naïve", "cafe naive"),
        ("cafe\u0301", "cafe"),
        ("", ""),
        ("?!", ""),
    ],
)
def test_texts_are_read_in_lower_case_with_punctuation_as_gaps(text, read_as):
    assert read(LATIN, LATIN.encode(text)) == read_as


@pytest.mark.parametrize("text", ["Room 7", "ещё", "你好", "a²"])
def test_what_cannot_be_spelled_is_none(text):
    assert LATIN.encode(text) is None


@pytest.mark.parametrize(
    ("characters", "text", "read_as"),
    [
        (" abcdefghijklmnopqrstuvwxyzäöüß", "Größe, fünf", "größe fünf"),
        (" 0123456789abcdefghijklmnopqrstuvwxyz", "Room 7, 3rd floor", "room 7 3rd floor"),
        (" абвгдежзийклмнопрстуфхцчшщъыьэюя", "Ещё один", "еще один"),
        (" -abc", "A-b, c", "a-b c"),
    ],
)
def test_any_alphabet(characters, text, read_as):
    alphabet = CharacterAlphabet(characters)
    assert read(alphabet, alphabet.encode(text)) == read_as


@pytest.mark.parametrize(
    ("characters", "message"),
    [
        ("", "begins with a space"),
        (" ", "begins with a space"),
        ("abc", "begins with a space"),
        (" abca", "holds 'a' more than once"),
        (" a b", "holds ' ' more than once"),
        (" aBc", "upper-case letters"),
    ],
)
def test_no_alphabet(characters, message):
    with pytest.raises(ValueError, match=message):
        CharacterAlphabet(characters)


def test_what_is_said():
    assert all(map(is_word_character, "aßя你7²\u0301"))
    assert not any(map(is_word_character, " .,'-\t¿"))
    assert normalize("Ü ’ U\u0308") == "ü ' ü"
