"""An exempted test must fail, and for the reason that is written down."""

import unittest

import pytest

from tests_peer import exemptions
from tests_peer.exemptions import Exemption, with_exemptions


def run(monkeypatch, body, test="test_it", error="ValueError: too many"):
    """Outcome of the exempted test of a case."""
    monkeypatch.setattr(exemptions, "EXEMPTIONS", (Exemption(test, error, "a reason", "Case"),))
    case = with_exemptions(type("Case", (unittest.TestCase,), {"test_it": body}))("test_it")
    case.test_it()


def fails_as_written_down(self):
    raise ValueError("too many words")


def fails_in_a_subtest(self):
    with self.subTest("first"):
        fails_as_written_down(self)
    raise AssertionError("went on")


def fails_otherwise(self):
    raise ValueError("too few")


@pytest.mark.parametrize("body", [fails_as_written_down, fails_in_a_subtest])
def test_a_failure_as_written_down_is_expected(monkeypatch, body):
    with pytest.raises(pytest.xfail.Exception, match="a reason"):
        run(monkeypatch, body)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (lambda self: None, "it passes: take it out"),
        (lambda self: self.skipTest("no GPU"), r"but skipped \(no GPU\): take it out"),
        (fails_otherwise, "too few"),
    ],
)
def test_anything_else_is_a_failure(monkeypatch, body, message):
    with pytest.raises((AssertionError, ValueError), match=message):
        run(monkeypatch, body)


def test_an_exemption_of_no_test_is_an_error(monkeypatch):
    with pytest.raises(LookupError, match="test_other is no test of Case"):
        run(monkeypatch, fails_otherwise, test="test_other")
