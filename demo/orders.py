"""The closed world of the demo: coffee orders, their words, their slots and the answer that repeats what was ordered."""

import json
import random
from dataclasses import dataclass
from pathlib import Path

import yaml


GRAMMAR = Path(__file__).with_name("order_grammar.yaml")


@dataclass(frozen=True)
class Order:
    """What is said (`text`) and what it means (`slots`: key -> value, the mentioned keys only, in the grammar's order)."""

    text: str
    slots: dict[str, str]


class OrderGrammar:
    """Samples and recognises orders; see the comments in `order_grammar.yaml`."""

    def __init__(self, path: Path = GRAMMAR):
        content = yaml.safe_load(path.read_text())
        self.openings: list[str] = content["openings"]
        self.slots: dict[str, list[str]] = content["slots"]
        self.answer_keys: list[str] = content["answer"]
        self.probabilities: dict[str, float] = content["probabilities"]

    def sample(self, generator: random.Random) -> Order:
        """One order; the same `generator` state gives the same order."""
        slots = {
            key: generator.choice(values)
            for key, values in self.slots.items()
            if generator.random() < self.probabilities.get(key, 1.0)
        }
        what = " ".join(slots[key] for key in ("size", "coffeeDrink") if key in slots)
        article = "an" if what[0] in "aei" else "a"
        text = f"{generator.choice(self.openings)} {article} {what}"
        if "milkAmount" in slots:
            text += f" with {slots['milkAmount']}"
        return Order(text, slots)

    def covers(self, slots: dict[str, str]) -> bool:
        """Whether an order with these slots can be said in this grammar."""
        return all(value in self.slots.get(key, ()) for key, value in slots.items())

    def answer(self, slots: dict[str, str]) -> str:
        """What the student should say of an order: `"large latte"`."""
        return " ".join(slots[key] for key in self.answer_keys if key in slots)

    def json_answer(self, slots: dict[str, str]) -> str:
        """The same as one JSON object; several times as many tokens to learn."""
        return json.dumps({key: slots[key] for key in self.answer_keys if key in slots})
