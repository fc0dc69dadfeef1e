"""Spoken coffee orders: what is said, what it means, and the JSON that answers `ORDER_QUESTION`."""

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml


GRAMMAR: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("orders.yaml").read_text())

ORDER_QUESTION = "What was ordered? Answer in JSON."

# Slots that are said before the drink, in any order.
BEFORE_DRINK = ("size", "roast", "numberOfShots")


@dataclass(frozen=True)
class Order:
    """What is said (`text`) and what it means (`slots`: key -> value, the mentioned keys only, in the order of the answer)."""

    text: str
    slots: dict[str, str]


def slot_values() -> dict[str, list[str]]:
    """Every slot's values, key -> values as they are said; a milk's or a sugar's are all amounts of all kinds."""
    amounts = {
        key: [f"{amount} {kind}".strip() for kind in kinds for amount in GRAMMAR["amounts"]]
        for key, kinds in GRAMMAR["kinds"].items()
    }
    return {**GRAMMAR["slots"], **amounts}


_VALUES = slot_values()


def sample(generator: random.Random) -> Order:
    """One order; the same state of `generator` gives the same order. Values are uniform, so amounts and kinds are too."""
    slots = {
        key: generator.choice(values)
        for key, values in _VALUES.items()
        if generator.random() < GRAMMAR["mentioned"].get(key, 1.0)
    }
    before = [key for key in BEFORE_DRINK if key in slots]
    generator.shuffle(before)
    after = [key for key in GRAMMAR["kinds"] if key in slots]
    generator.shuffle(after)
    what = " ".join(slots[key] for key in (*before, "coffeeDrink"))
    articles = GRAMMAR["articles"]
    article = generator.choices(list(articles), weights=list(articles.values()))[0]
    if article == "fitting":
        article = "an" if what[0] in "aei" else "a"
    parts = (
        [generator.choice(GRAMMAR["openings"]), what]
        if article == "none"
        else [generator.choice(GRAMMAR["openings"]), article, what]
    )
    if after:
        parts += ["with", " and ".join(slots[key] for key in after)]
    return Order(" ".join(parts), {key: slots[key] for key in GRAMMAR["answer"] if key in slots})


def json_answer(slots: dict[str, str]) -> str:
    """One JSON object with the mentioned slots, keys in the fixed order of the grammar's `answer`."""
    return json.dumps({key: slots[key] for key in GRAMMAR["answer"] if key in slots})


def parse(text: str) -> dict[str, str] | None:
    """The slots of an order of this grammar, or `None` if `text` is not one. Case, punctuation and spacing do not matter.

    The grammar is read strictly: a word too many, or one that it does not know, makes the whole text no order.
    """
    words = " ".join(
        "".join(
            letter if letter.isalnum() or letter == "'" else " " for letter in text.lower().replace("’", "'")
        ).split()
    )
    head, with_, tail = words.partition(" with ")
    after = _parse_after(tail) if with_ else {}
    before = _parse_before(head)
    if after is None or before is None:
        return None
    slots = {**before, **after}
    return {key: slots[key] for key in GRAMMAR["answer"] if key in slots}


def _parse_before(head: str) -> dict[str, str] | None:
    """The slots of opening, article and drink."""
    opening = next(
        (opening.lower() for opening in GRAMMAR["openings"] if head.startswith(f"{opening.lower()} ")), None
    )
    if opening is None:
        return None
    what = head.removeprefix(opening).strip()
    for article in ("a ", "an "):
        if what.startswith(article):
            what = what.removeprefix(article)
            break
    slots: dict[str, str] = {}
    # "medium roast" before "medium": the longer values first.
    candidates = sorted(
        ((key, value) for key in BEFORE_DRINK for value in _VALUES[key]), key=lambda item: len(item[1]), reverse=True
    )
    while what not in GRAMMAR["slots"]["coffeeDrink"]:
        key, value = next(
            ((key, value) for key, value in candidates if key not in slots and what.startswith(f"{value} ")),
            (None, ""),
        )
        if key is None:
            return None
        slots[key] = value
        what = what.removeprefix(value).strip()
    return {**slots, "coffeeDrink": what}


def _parse_after(tail: str) -> dict[str, str] | None:
    """The milk and the sugar after "with"."""
    slots: dict[str, str] = {}
    for value in tail.split(" and "):
        key = next((key for key in GRAMMAR["kinds"] if value in _VALUES[key] and key not in slots), None)
        if key is None:
            return None
        slots[key] = value
    return slots
