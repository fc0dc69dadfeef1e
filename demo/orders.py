"""The closed world of the demo: coffee orders, their words, their slots and the answer that says them as JSON."""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml


GRAMMAR = Path(__file__).with_name("order_grammar.yaml")
QUESTION = "What was ordered? Answer in JSON."
SHORT_QUESTION = "Which drink and which size? Answer in JSON."
SHORT_KEYS = ("coffeeDrink", "size")


@dataclass(frozen=True)
class Order:
    """What is said (`text`) and what it means (`slots`: key -> value, the mentioned keys only, in the grammar's order)."""

    text: str
    slots: dict[str, str]


class OrderGrammar:
    """Samples and checks orders; see the comments in `order_grammar.yaml`."""

    def __init__(self, path: Path = GRAMMAR):
        content = yaml.safe_load(path.read_text())
        self.openings: list[str] = content["openings"]
        self.slots: dict[str, list[str]] = content["slots"]
        self.modifiers: list[str] = content["modifiers"]
        self.additions: list[str] = content["additions"]
        self.amounts: list[str] = content["amounts"]
        self.probabilities: dict[str, float] = content["probabilities"]

    @property
    def keys(self) -> list[str]:
        return list(self.slots)

    def sample(self, generator: random.Random) -> Order:
        """One order; the same `generator` state gives the same order."""
        chosen = {"coffeeDrink": generator.choice(self.slots["coffeeDrink"])}
        for key in (*self.modifiers, *self.additions):
            if generator.random() < self.probabilities[key]:
                value = generator.choice(self.slots[key])
                if key in self.additions and generator.random() < self.probabilities["amount"]:
                    value = f"{generator.choice(self.amounts)} {value}"
                chosen[key] = value
        modifiers = [chosen[key] for key in self.modifiers if key in chosen]
        additions = [chosen[key] for key in self.additions if key in chosen]
        generator.shuffle(modifiers)
        generator.shuffle(additions)
        what = " ".join([*modifiers, chosen["coffeeDrink"]])
        article = "an" if what[0] in "aei" else "a"
        text = f"{generator.choice(self.openings)} {article} {what}"
        if additions:
            text += f" with {' and '.join(additions)}"
        return Order(text, self.in_order(chosen))

    def in_order(self, slots: dict[str, str]) -> dict[str, str]:
        """The same slots, keys in the grammar's order."""
        return {key: slots[key] for key in self.slots if key in slots}


def json_answer(slots: dict[str, str], keys: Sequence[str] | None = None) -> str:
    """The answer to [`QUESTION`]: one JSON object with the mentioned slots, of `keys` only when given."""
    return json.dumps({key: value for key, value in slots.items() if keys is None or key in keys})


def read_json_answer(answer: str) -> dict[str, str] | None:
    """The slots in a model's answer, or `None` when it is not one JSON object; text around the object is not forgiven."""
    try:
        slots = json.loads(answer)
    except json.JSONDecodeError:
        return None
    return slots if isinstance(slots, dict) else None
