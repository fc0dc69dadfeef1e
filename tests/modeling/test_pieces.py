"""Cutting at pauses, on steps by hand."""

import numpy as np
import pytest

from transformers_aura.modeling.pieces import cuts_at_pauses, is_pause
from transformers_aura.modeling.spelling import GAP, LETTERS


def said(text: str) -> np.ndarray:
    """`.` = nothing is said."""
    return np.array([character == "." for character in text])


def test_nothing_is_said_where_the_blank_or_the_gap_is_likeliest():
    letters = np.full((3, 1 + len(LETTERS)), -5.0)
    letters[[0, 1, 2], [0, GAP, 2]] = -0.1
    assert is_pause(letters).tolist() == [True, True, False]


@pytest.mark.parametrize(
    ("text", "cuts"),
    [
        ("aaaa.aaaa", []),  # short enough
        ("aaaa.aa...aaaa", [8]),  # the longest pause
        ("aaa.aa.aaaaaaa", [6]),  # of pauses of one length the last
        ("aaaaaaaaaaaaaaaaaaaaaaaaa", [10, 20]),  # nobody pauses
        ("aa.......aaaaaaaaaaaaaa..aaaa", [6, 16, 24]),
        ("aaaaa.aaaaa.", [5]),  # the last piece is not too short either
        ("............", [6]),
    ],
)
def test_cuts_lie_in_the_longest_pauses(text, cuts):
    assert cuts_at_pauses(said(text), shortest=3, longest=10) == cuts


def test_no_piece_is_too_long_or_too_short():
    random = np.random.default_rng(0)
    for length in range(1, 200):
        pause = random.random(length) < 0.3
        edges = [0, *cuts_at_pauses(pause, 3, 11), length]
        pieces = np.diff(edges)
        assert pieces.max() <= 11
        assert len(pieces) == 1 or pieces.min() >= 3
