"""The arms of the ablations, as `arms.yaml` lists them."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml


ARMS = Path(__file__).with_name("arms.yaml")
RECIPE = Path(__file__).with_name("recipe.yaml")
THIRD_OF_STEPS = "THIRD_OF_STEPS"
ORDERS = ("orders", "real_orders")
"""The parts of the corpus on which a group's runs are trained where the group says nothing else."""


class AblationError(ValueError):
    """What was asked for cannot be run. The message is for the person who asked."""


@dataclass(frozen=True)
class Arm:
    """One way to train.

    Attributes:
        settings: on top of the recipe, `key=value` as `aura distill --set` takes them.
        run: name of its runs: that of the first arm in the file with the same settings and data, so that equal arms are run once.
    """

    name: str
    settings: tuple[str, ...]
    run: str


@dataclass(frozen=True)
class Group:
    """Arms that answer one question.

    Attributes:
        reference: name of the arm that the others are compared with.
        comparisons: pairs of an arm and what it is compared with, all of the reference first.
        parts: of the corpus; the runs are trained on all of them, and their losses are taken of the validation rows of the first.
    """

    name: str
    question: str
    arms: tuple[Arm, ...]
    reference: str
    comparisons: tuple[tuple[str, str], ...]
    parts: tuple[str, ...] = ORDERS

    def arm(self, name: str) -> Arm:
        """The arm of that name."""
        return next(arm for arm in self.arms if arm.name == name)


_Runs = dict[tuple[tuple[str, ...], tuple[str, ...]], str]
"""Parts of the corpus and settings -> name of the runs."""


def load_groups(path: Path = ARMS) -> list[Group]:
    """The groups of a YAML file, in its order.

    Raises:
        AblationError: a group without question, arms or reference, a comparison of an arm that is not there, a setting without `=`, `parts` that
            are no list.
    """
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    runs: _Runs = {}
    return [_group(str(name), values, runs) for name, values in content.items()]


def _group(name: str, values: dict[str, Any], runs: _Runs) -> Group:
    if unknown := sorted(values.keys() - {"question", "reference", "parts", "settings", "arms", "also"}):
        raise AblationError(
            f"Group '{name}' has no setting '{unknown[0]}'; it takes question, reference, parts, settings, arms and also."
        )
    if missing := [key for key in ("question", "reference", "arms") if not values.get(key)]:
        raise AblationError(f"Group '{name}' lacks '{missing[0]}'.")
    parts = values.get("parts", list(ORDERS))
    if not isinstance(parts, list) or not parts:
        raise AblationError(f"Group '{name}': `parts` is a list of parts of the corpus, got {parts!r}.")
    parts = tuple(map(str, parts))
    arms = []
    for arm, own in values["arms"].items():
        settings = (*values.get("settings", ()), *own)
        for setting in settings:
            if "=" not in setting:
                raise AblationError(f"Arm '{arm}' of group '{name}': a setting is key=value, got {setting!r}.")
        run = runs.setdefault((parts, tuple(sorted(settings))), f"{name}-{arm}")
        arms.append(Arm(str(arm), settings, run))
    reference = str(values["reference"])
    comparisons = [(arm.name, reference) for arm in arms if arm.name != reference]
    comparisons += [(str(arm), str(other)) for arm, other in values.get("also", ())]
    names = {arm.name for arm in arms}
    if unknown := [arm for pair in [(reference, reference), *comparisons] for arm in pair if arm not in names]:
        raise AblationError(
            f"Group '{name}' compares with '{unknown[0]}', but its arms are {', '.join(sorted(names))}."
        )
    return Group(name, values["question"], tuple(arms), reference, tuple(comparisons), parts)


def select_groups(groups: list[Group], names: list[str] | None) -> list[Group]:
    """The groups of these names; all without names.

    Raises:
        AblationError: there is no such group.
    """
    known = {group.name: group for group in groups}
    if unknown := [name for name in names or () if name not in known]:
        raise AblationError(f"There is no group '{unknown[0]}'; there are {', '.join(known)}.")
    return [known[name] for name in names] if names else groups


def recipe_digest(recipe: Path, common_settings: Sequence[str] = ()) -> str:
    """Tells recipes apart: twelve hex digits of the SHA-256 of what the YAML file says, comments left out, and of what all arms change in it."""
    content = repr(yaml.safe_load(recipe.read_text(encoding="utf-8")))
    return hashlib.sha256("\n".join([content, *common_settings]).encode()).hexdigest()[:12]
