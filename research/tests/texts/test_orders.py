"""Spoken orders: what can be said, what it means, and the strict parser."""

import json
import random
from collections import Counter

import pytest

from aura_research.places import FIXTURES, SHARED_DATA
from aura_research.texts.orders import SLOT_KEYS, OrderGrammar


BENCHMARK = SHARED_DATA / "barista"


@pytest.fixture(scope="module")
def grammar() -> OrderGrammar:
    return OrderGrammar()


def test_orders_are_deterministic_and_parse_back(grammar):
    orders = [grammar.sample(random.Random(seed)) for seed in range(3000)]
    assert orders[:100] == [grammar.sample(random.Random(seed)) for seed in range(100)]
    for order in orders:
        assert grammar.parse(order.text) == order.slots
        assert grammar.parse(order.text.upper() + ".") == order.slots


def test_every_value_of_every_slot_is_sampled_about_equally(grammar):
    generator = random.Random(0)
    counts = Counter(item for _ in range(8000) for item in grammar.sample(generator).slots.items())
    for key, values in grammar.values.items():
        shares = [counts[key, value] for value in values]
        assert min(shares) > 0.5 * max(shares), key


def test_all_sentences_of_some_slots_parse_to_them(grammar):
    slots = {"coffeeDrink": "iced mocha", "size": "medium", "roast": "medium roast", "milkAmount": "a bit of cream"}
    sentences = list(grammar.sentences(slots))
    assert len(set(sentences)) == len(sentences) == len(grammar.openings) * 2 * 2
    assert all(grammar.parse(sentence) == slots for sentence in sentences)


def test_the_answer_is_json_in_a_fixed_order(grammar):
    slots = {"sugarAmount": "some sugar", "size": "large", "coffeeDrink": "latte"}
    assert grammar.json_answer(slots) == '{"coffeeDrink": "latte", "size": "large", "sugarAmount": "some sugar"}'
    assert SLOT_KEYS == ("coffeeDrink", "size", "roast", "numberOfShots", "milkAmount", "sugarAmount")


@pytest.mark.parametrize(
    ("text", "slots"),
    [
        ("brew latte", {"coffeeDrink": "latte"}),
        (
            "I’d like a medium medium roast coffee",
            {"coffeeDrink": "coffee", "size": "medium", "roast": "medium roast"},
        ),
        (
            "Get me an eight ounce iced mocha with lots of brown sugar and cream",
            {
                "coffeeDrink": "iced mocha",
                "size": "eight ounce",
                "milkAmount": "cream",
                "sugarAmount": "lots of brown sugar",
            },
        ),
        ("I’d like a medium medium roast coffee, please with", None),
        ("get me a tea", None),
        ("a large latte", None),
        ("get me a large small latte", None),
        ("get me a latte with milk and cream", None),
        ("get me a latte with", None),
        ("", None),
    ],
)
def test_the_parser_reads_the_grammar_strictly(grammar, text, slots):
    assert grammar.parse(text) == slots


def test_recorded_orders_parse_to_their_slots(grammar):
    for line in FIXTURES.read_text().splitlines():
        clip = json.loads(line)
        if clip.get("slots"):
            assert grammar.parse(clip["transcript"]) == clip["slots"]


def test_the_benchmarks_texts_all_parse(grammar):
    corpus = BENCHMARK / "corpus.txt"
    if not corpus.is_file():
        pytest.skip("the benchmark's texts are not beside this checkout")
    for text in corpus.read_text().splitlines():
        assert grammar.parse(text), text
