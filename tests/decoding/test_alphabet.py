import pytest

from transformers_aura.decoding.alphabet import (
    BLANK,
    GAP,
    LATIN_ALPHABET,
    CharacterAlphabet,
    alphabet_of,
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
    assert normalize("İzmir Kaf\u00adfee \u200fשלום") == "izmir kaffee שלום", "what is invisible is not said"


@pytest.mark.parametrize(
    ("texts", "alphabet"),
    [
        (["Größe fünf, „bitte“!", "Ärger"], " befginrtßäöü"),
        (["М’який 'рік'"], " 'ийкмряі"),
        (["コーヒーを。", "ください"], " いくさだをコヒー"),
        (["x\u0301z"], " xz\u0301"),
        (["हिन्दी"], " दनह\u093f\u0940\u094d"),
    ],
)
def test_the_alphabet_of_texts_is_what_their_words_are_written_with(texts, alphabet):
    assert alphabet_of(texts) == alphabet
    assert all(CharacterAlphabet(alphabet).encode(text) for text in texts)


def test_the_rarest_characters_are_left_out():
    assert alphabet_of(["ja nein"] * 30_000 + ["ž"]) == " aeijn"
    assert alphabet_of(["ja nein"] * 30 + ["ž"]) == " aeijnž"
    with pytest.raises(ValueError, match="None of the texts has a word"):
        alphabet_of(["", "?!"])


def test_symbols_are_read_back():
    alphabet = CharacterAlphabet(" abc")
    assert alphabet.decode([1, 2, 1, 1, 4, 1]) == "a c"
