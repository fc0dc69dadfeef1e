"""Spoken orders: what can be said, what it means, and the strict parser."""

import json
import random
from collections import Counter
from pathlib import Path

import pytest

from student.texts.orders import GRAMMAR, json_answer, parse, sample, slot_values


FIXTURES = Path(__file__).parents[2] / "fixtures" / "speech"
BENCHMARK = Path(__file__).parents[4] / "shared" / "data" / "barista"


def test_orders_are_deterministic_and_parse_back():
    orders = [sample(random.Random(seed)) for seed in range(5000)]
    assert orders[:100] == [sample(random.Random(seed)) for seed in range(100)]
    for order in orders:
        assert parse(order.text) == order.slots
        assert parse(order.text.upper() + ".") == order.slots


def test_every_value_of_every_slot_is_sampled_about_equally():
    generator = random.Random(0)
    counts = Counter(item for _ in range(8000) for item in sample(generator).slots.items())
    for key, values in slot_values().items():
        shares = [counts[key, value] for value in values]
        assert min(shares) > 0.5 * max(shares), key


def test_the_answer_is_json_in_a_fixed_order():
    slots = {"sugarAmount": "some sugar", "size": "large", "coffeeDrink": "latte"}
    assert json_answer(slots) == '{"coffeeDrink": "latte", "size": "large", "sugarAmount": "some sugar"}'
    order = sample(random.Random(1))
    assert json.loads(json_answer(order.slots)) == order.slots
    assert list(GRAMMAR["answer"]) == ["coffeeDrink", "size", "roast", "numberOfShots", "milkAmount", "sugarAmount"]


@pytest.mark.parametrize(
    ("text", "slots"),
    [
        ("brew latte", {"coffeeDrink": "latte"}),
        (
            "I’d like a medium medium roast coffee, please with",
            None,
        ),
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
        ("get me a tea", None),
        ("a large latte", None),
        ("get me a large small latte", None),
        ("get me a latte with milk and cream", None),
        ("get me a latte with", None),
        ("", None),
    ],
)
def test_the_parser_reads_the_grammar_strictly(text, slots):
    assert parse(text) == slots


def test_recorded_orders_parse_to_their_slots():
    for line in (FIXTURES / "manifest.jsonl").read_text().splitlines():
        clip = json.loads(line)
        if clip.get("slots"):
            assert parse(clip["transcript"]) == clip["slots"]


def test_the_benchmarks_texts_all_parse():
    corpus = BENCHMARK / "corpus.txt"
    if not corpus.is_file():
        pytest.skip("the benchmark's texts are not beside this checkout")
    for text in corpus.read_text().splitlines():
        assert parse(text), text
