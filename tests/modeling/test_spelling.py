"""Tokens are found by the letters that they add to a text."""

import numpy as np
import pytest

from tests.support.tiny import tiny_tokenizer
from transformers_aura.modeling.spelling import LETTERS, UNSPELLED, SpelledVocabulary, spell, spelled_vocabulary


def letters(symbols: tuple[int, ...]) -> str:
    return "".join("#" if symbol == UNSPELLED else LETTERS[symbol - 1] for symbol in symbols)


@pytest.mark.parametrize(
    ("text", "begins_apart", "spelled", "ends_apart"),
    [
        ("Who's there?", False, "who's there", True),
        (" the", True, "the", False),
        ("ing", False, "ing", False),
        ("U.S. café – 12", False, "u s cafe ##", False),
        ("well-known’s", False, "well known's", False),
        (", ", True, "", True),
        ("", False, "", False),
    ],
)
def test_a_text_is_spelled_in_letters(text, begins_apart, spelled, ends_apart):
    piece = spell(text)
    assert (piece.begins_apart, letters(piece.symbols), piece.ends_apart) == (begins_apart, spelled, ends_apart)


def walk(vocabulary: SpelledVocabulary, apart: bool) -> dict[str, list[int]]:
    """Every word of the trie, and the tokens that are spelled so."""
    found, level = {}, {vocabulary.roots[apart]: ""}
    while level:
        nodes = np.array(list(level))
        children, parents = vocabulary.children(nodes)
        level = {
            int(child): level[int(nodes[parent])] + LETTERS[vocabulary.symbols[child] - 1]
            for child, parent in zip(children, parents, strict=True)
        }
        found |= {word: vocabulary.tokens[node] for node, word in level.items() if vocabulary.tokens[node]}
    return found


def test_tokens_of_letters_are_found_by_them():
    texts = [
        "the",
        " the",
        " The",
        "in",
        " in",
        "'s",
        " it's",
        "?",
        "12",
        " 7",
        " ",
        "well-known",
        "<s>",
        "\n",
        None,
        "東",
        "é",
        " a",
        " IV",
        "I",
        " $",
    ]
    vocabulary = SpelledVocabulary(texts)
    assert walk(vocabulary, True) == {"the": [1, 2], "in": [4], "it's": [6], "a": [17]}
    assert walk(vocabulary, False) == {"the": [0], "in": [3], "'s": [5], "e": [16], "i": [19]}
    assert vocabulary.others == {7, 8, 9, 10, 18, 20}
    assert set(vocabulary.pieces) == {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 16, 17, 18, 19, 20}
    assert vocabulary.before_numbers == {10, 20}


def test_the_tokens_of_a_tokenizer():
    tokenizer = tiny_tokenizer()
    vocabulary = spelled_vocabulary(tokenizer, len(tokenizer) - 1)
    words = walk(vocabulary, True)
    assert words["the"] == [tokenizer.convert_tokens_to_ids("Ġthe")]
    assert set(walk(vocabulary, False)["t"]) == {tokenizer.convert_tokens_to_ids(token) for token in ("t", "T")}
    assert tokenizer.convert_tokens_to_ids("?") in vocabulary.others
    assert not set(vocabulary.pieces) & set(tokenizer.all_special_ids)
