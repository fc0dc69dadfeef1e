"""Emissions of tiny alphabets, and what all paths through them say, one path after the other."""

import itertools
from collections import defaultdict

import numpy as np


def random_emissions(frames: int, symbols: int, seed: int = 0, sharpness: float = 2.0) -> np.ndarray:
    """Natural logs of probabilities, `(frames, 1 + symbols)`."""
    logits = sharpness * np.random.default_rng(seed).normal(size=(frames, 1 + symbols))
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def collapse(path: tuple[int, ...]) -> tuple[int, ...]:
    """The labelling of a path."""
    return tuple(symbol for symbol, _ in itertools.groupby(path) if symbol)


def all_paths(emissions: np.ndarray) -> list[tuple[tuple[int, ...], float]]:
    """Every path and the natural log of its probability."""
    frames, symbols = emissions.shape
    return [
        (path, float(emissions[range(frames), path].sum()))
        for path in itertools.product(range(symbols), repeat=frames)
    ]


def labelling_log_probabilities(emissions: np.ndarray) -> dict[tuple[int, ...], float]:
    """Natural log of the probability of every labelling: summed over its paths."""
    found: dict[tuple[int, ...], float] = defaultdict(lambda: -np.inf)
    for path, score in all_paths(emissions):
        labelling = collapse(path)
        found[labelling] = np.logaddexp(found[labelling], score)
    return dict(found)
