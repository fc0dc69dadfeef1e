"""The demo's closed world: what can be said, and what it means."""

import json
import random
from pathlib import Path

from demo.orders import OrderGrammar


FIXTURES = Path(__file__).parents[1] / "fixtures" / "speech"


def test_orders_are_deterministic_and_say_their_slots():
    grammar = OrderGrammar()
    orders = [grammar.sample(random.Random(seed)) for seed in range(300)]
    assert orders == [grammar.sample(random.Random(seed)) for seed in range(300)]
    for order in orders:
        assert grammar.covers(order.slots)
        assert "coffeeDrink" in order.slots
        assert all(f" {value}" in order.text for value in order.slots.values())
        assert grammar.answer(order.slots) == " ".join(json.loads(grammar.json_answer(order.slots)).values())
        vowel = order.text.split(" a ")[0].split(" an ")[0] != order.text and " an " in order.text
        assert vowel == (next(iter(order.slots.values()))[0] in "aei")


def test_values_that_cannot_be_said_are_not_covered():
    grammar = OrderGrammar()
    assert not grammar.covers({"coffeeDrink": "tea"})
    assert not grammar.covers({"coffeeDrink": "latte", "roast": "dark roast"})


def test_some_recordings_of_real_people_are_in_the_grammar():
    grammar = OrderGrammar()
    clips = [json.loads(line) for line in (FIXTURES / "manifest.jsonl").read_text().splitlines()]
    assert sum(grammar.covers(clip["slots"]) for clip in clips) >= 10
