"""Recipes with keys and values that somebody mistyped."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st

from tests.fuzz.campaign import Area, Silent
from tests.fuzz.damage import TEXT_DAMAGES, damages, holder_of, paths_of
from transformers_aura.distillation.recipe import Recipe, load_recipe, training_arguments
from transformers_aura.package_data import package_data_folder


VALUES = (
    None,
    0,
    -1,
    1,
    10**30,
    1.5,
    float("nan"),
    float("inf"),
    True,
    "",
    "none",
    "1e-4",
    "no",
    [],
    {},
    [[]],
    {"a": 1},
    "a" * 5_000,
    "é\0",
)


@functools.cache
def _recipe() -> tuple[str, dict[str, Any]]:
    text = (package_data_folder("recipes") / "smollm2-135m-quick.yaml").read_text(encoding="utf-8")
    return text, yaml.safe_load(text)


def strategy() -> st.SearchStrategy[tuple[str, Any, Any]]:
    _, content = _recipe()
    places = st.sampled_from(list(paths_of(content)))
    value = st.sampled_from(VALUES) | st.text(max_size=5) | st.integers() | st.floats()
    damage = damages(TEXT_DAMAGES, (0.0, 0.01, 0.1))
    return (
        st.tuples(st.just("value"), places, value)
        | st.tuples(st.just("key"), places, st.text(max_size=8) | st.sampled_from(("modle", "training", "losses")))
        | st.tuples(st.just("without"), places, st.none())
        | st.tuples(st.just("bytes"), st.lists(damage, min_size=1, max_size=2), st.none())
        | st.tuples(st.just("--set"), places, value | st.text(max_size=12))
    )


def ask(change: tuple[str, Any, Any]) -> None:
    kind, place, value = change
    text, _ = _recipe()
    data, overrides = text.encode(), []
    if kind == "bytes":
        for damage in place:
            data = damage.do(data)
    elif kind == "--set":
        overrides = [".".join(map(str, place)) + f"={value}"]
    else:
        changed = yaml.safe_load(text)
        holder = holder_of(changed, place)
        if kind == "value":
            holder[place[-1]] = value
        elif kind == "without":
            del holder[place[-1]]
        elif isinstance(holder, dict):
            holder[value] = holder.pop(place[-1])
        data = yaml.safe_dump(changed, allow_unicode=True).encode(errors="surrogatepass")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "recipe.yaml"
        file.write_bytes(data)
        recipe = load_recipe(file, overrides)
        arguments = training_arguments(recipe)
    if not isinstance(recipe, Recipe) or not recipe.data.train or not 0 < arguments.learning_rate < 1e6:
        raise Silent(f"a recipe without data, or with the learning rate {arguments.learning_rate}")


def names(change: tuple[str, Any, Any]) -> tuple[str, ...]:
    kind, place, value = change
    if kind == "bytes":
        return ("recipe.yaml", "section", "must", "takes", "unknown", "'")
    return (*(str(part) for part in place), f"'{value}'", "recipe.yaml", "section", "--set", "unknown")


AREA = Area("recipes with mistyped keys and values, and --set", strategy, ask, names, share=0.05)
