"""Spoken orders: what people say at the counter, the slots that they mean, and the JSON object that the student answers with."""

import itertools
import json
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import yaml


GRAMMAR = Path(__file__).with_name("orders.yaml")
ORDER_QUESTION = "What was ordered? Answer in JSON."
SLOT_KEYS = ("coffeeDrink", "size", "roast", "numberOfShots", "milkAmount", "sugarAmount")
"""The keys of an answer, in its order."""

ATTRIBUTES = ("size", "roast", "numberOfShots")
"""What is said before the drink, in any order."""


@dataclass(frozen=True)
class Order:
    """What is said (`text`) and what it means (`slots`: key -> value, the mentioned keys only)."""

    text: str
    slots: dict[str, str]


class OrderGrammar:
    """Samples, writes and recognises orders; see `orders.yaml`."""

    def __init__(self) -> None:
        content = yaml.safe_load(GRAMMAR.read_text())
        self.openings: list[str] = content["openings"]
        self.values: dict[str, list[str]] = {key: content[key] for key in (*ATTRIBUTES, "coffeeDrink")}
        for key, kinds in (("milkAmount", content["milk"]), ("sugarAmount", content["sugar"])):
            self.values[key] = [f"{amount} {kind}".strip() for kind in kinds for amount in content["amounts"]]

    def sample(self, generator: random.Random) -> Order:
        """One order; the same `generator` state gives the same order. Every value of a slot is as likely as the others."""
        mentioned = [key for key in SLOT_KEYS if key == "coffeeDrink" or generator.random() < 0.5]
        slots = {key: generator.choice(self.values[key]) for key in mentioned}
        attributes = [key for key in ATTRIBUTES if key in slots]
        generator.shuffle(attributes)
        additions = [key for key in ("milkAmount", "sugarAmount") if key in slots]
        generator.shuffle(additions)
        return Order(self.write(generator.choice(self.openings), slots, attributes, additions, True), slots)

    def write(
        self, opening: str, slots: dict[str, str], attributes: list[str], additions: list[str], has_article: bool
    ) -> str:
        """The sentence of an order; `attributes` and `additions` are the mentioned keys in the order in which they are said."""
        what = " ".join(slots[key] for key in (*attributes, "coffeeDrink"))
        if has_article:
            what = f"{'an' if what[0] in 'aei' else 'a'} {what}"
        with_what = " and ".join(slots[key] for key in additions)
        return f"{opening} {what} with {with_what}" if additions else f"{opening} {what}"

    def sentences(self, slots: dict[str, str]) -> Iterator[str]:
        """Every sentence of the grammar that means `slots`."""
        attributes = [key for key in ATTRIBUTES if key in slots]
        additions = [key for key in ("milkAmount", "sugarAmount") if key in slots]
        for opening, before, after, has_article in itertools.product(
            self.openings, itertools.permutations(attributes), itertools.permutations(additions), (True, False)
        ):
            yield self.write(opening, slots, list(before), list(after), has_article)

    def json_answer(self, slots: dict[str, str]) -> str:
        """The answer to [`ORDER_QUESTION`]: one JSON object with the mentioned keys in the order of [`SLOT_KEYS`]."""
        return json.dumps({key: slots[key] for key in SLOT_KEYS if key in slots})

    def parse(self, text: str) -> dict[str, str] | None:
        """The slots of a sentence, or `None` if it is not one of the grammar; case and punctuation do not matter."""
        words = re.sub(r"[^a-z' ]+", " ", text.lower().replace("’", "'"))
        match = self._pattern.fullmatch(re.sub(r"\s+", " ", words).strip())
        if match is None:
            return None
        slots: dict[str, str] = {}
        for group, value in match.groupdict().items():
            key = re.sub(r"_\d$", "", group)
            if value is not None:
                if key in slots:
                    return None
                slots[key] = value
        return {key: slots[key] for key in SLOT_KEYS if key in slots}

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        def one_of(key: str, number: int) -> str:
            values = sorted(self.values[key], key=len, reverse=True)
            return f"(?P<{key}_{number}>{'|'.join(map(re.escape, values))})"

        openings = "|".join(re.escape(opening.lower()) for opening in self.openings)
        attribute = "|".join
        before = "".join(f"(?:(?:{attribute(one_of(key, number) for key in ATTRIBUTES)}) )?" for number in range(3))
        after = [attribute(one_of(key, number) for key in ("milkAmount", "sugarAmount")) for number in range(2)]
        return re.compile(
            f"(?:{openings}) (?:an? )?{before}{one_of('coffeeDrink', 0)}(?: with (?:{after[0]})(?: and (?:{after[1]}))?)?"
        )
