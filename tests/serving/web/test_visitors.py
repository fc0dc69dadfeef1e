"""Who is on the page."""

import pytest

from transformers_aura.serving.web.visitors import PageFullError, UnknownVisitorError, Visitors


def test_each_visitor_has_its_own_until_it_leaves() -> None:
    visitors: Visitors[list[str]] = Visitors(list, max_visitors=2, idle_seconds=60)
    first, second = visitors.enter(), visitors.enter()
    visitors.of(first).append("mine")
    assert visitors.of(first) == ["mine"]
    assert visitors.of(second) == []
    visitors.leave(first)
    visitors.leave(first)
    with pytest.raises(UnknownVisitorError, match="Reload"):
        visitors.of(first)
    assert visitors.enter() not in (first, second)


def test_a_full_page_lets_go_of_whoever_did_nothing_for_long() -> None:
    now = 0.0
    visitors: Visitors[list[str]] = Visitors(list, max_visitors=2, idle_seconds=60, clock=lambda: now)
    first = visitors.enter()
    now = 30.0
    second = visitors.enter()
    now = 50.0
    visitors.of(first)
    now = 80.0
    with pytest.raises(PageFullError, match="2 people"):
        visitors.enter()
    now = 100.0
    visitors.enter()
    assert len(visitors) == 2
    visitors.of(first)
    with pytest.raises(UnknownVisitorError):
        visitors.of(second)
