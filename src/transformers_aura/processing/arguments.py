"""Checks of what a caller passes: numbers, texts and switches, each with an error that names the argument."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping, Sequence
from typing import Any


def whole_number(name: str, value: Any, at_least: int = 1, at_most: int | None = None) -> int:
    """
    `value` as an `int`.

    Args:
        name: of the argument, for the error.
        value: an `int`, or a whole number of numpy.
        at_least, at_most: its range.

    Raises:
        TypeError: `value` is no whole number; a `bool` is none.
        ValueError: it is out of range.
    """
    if not isinstance(value, numbers.Integral) or isinstance(value, bool):
        raise TypeError(f"`{name}` must be a whole number, got {described(value)}.")
    number = int(value)
    if number < at_least or (at_most is not None and number > at_most):
        limits = f"{at_least} or more" if at_most is None else f"between {at_least} and {at_most}"
        raise ValueError(f"`{name}` must be {limits}, got {described(value)}.")
    return number


def real_number(
    name: str, value: Any, *, at_least: float | None = None, above: float | None = None, at_most: float | None = None
) -> float:
    """
    `value` as a finite `float`.

    Args:
        name: of the argument, for the error.
        value: an `int`, a `float`, or a number of numpy.
        at_least, above, at_most: its range.

    Raises:
        TypeError: `value` is no number; a `bool` is none.
        ValueError: it is NaN, infinite or out of range.
    """
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        raise TypeError(f"`{name}` must be a number, got {described(value)}.")
    limits = [
        *([f"{at_least} or more"] if at_least is not None else []),
        *([f"above {above}"] if above is not None else []),
        *([f"{at_most} or less"] if at_most is not None else []),
    ]
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if (
        not math.isfinite(number)
        or (at_least is not None and number < at_least)
        or (above is not None and number <= above)
        or (at_most is not None and number > at_most)
    ):
        raise ValueError(f"`{name}` must be {' and '.join(limits) or 'finite'}, got {described(value)}.")
    return number


def switch(name: str, value: Any) -> bool:
    """`value`, or `TypeError` where it is no `bool`."""
    if not isinstance(value, bool):
        raise TypeError(f"`{name}` must be True or False, got {described(value)}.")
    return value


def one_of(name: str, value: Any, choices: Sequence[Any]) -> Any:
    """`value`, or `ValueError` where it is none of `choices`, which are strings, switches or `None`."""
    if not isinstance(value, (str, bool, type(None))) or value not in choices:
        raise ValueError(f"`{name}` must be {', '.join(map(repr, choices))}, got {described(value)}.")
    return value


def options(name: str, value: Any) -> dict[str, Any]:
    """A copy of `value`, empty where it is `None`, or `TypeError` where it is no dict."""
    if not isinstance(value, (Mapping, type(None))):
        raise TypeError(f"`{name}` must be a dict, got {described(value)}.")
    return dict(value or {})


def text(name: str, value: Any) -> str:
    """
    `value`, which is a string that can be written.

    Raises:
        TypeError: it is no string.
        ValueError: it holds lone surrogates, which are no characters.
    """
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a string, got {described(value)}.")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{name} holds a lone surrogate (U+{ord(value[error.start]):04X} at character {error.start}), which is no text. Was it decoded with "
            "`surrogateescape`, or cut inside an emoji?"
        ) from None
    return value


def described(value: Any) -> str:
    """A value for a message, without its data."""
    if not isinstance(value, (str, dict, list, tuple, numbers.Number, type(None))):
        return f"a {type(value).__name__}"
    try:
        written = repr(value)
    except ValueError:  # a whole number of more digits than Python writes
        return "a whole number of thousands of digits"
    return written if len(written) <= 120 else f"{written[:117]}..."


__all__ = ["described", "one_of", "options", "real_number", "switch", "text", "whole_number"]
