"""The common tests that cannot pass, each by its name and with the reason why.

An exempted test runs all the same. It must fail, with the error that is named here: where it passes, is skipped or fails otherwise, it
is reported as a failure, so that this list stays true.
"""

import functools
import re
import unittest
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, TypeVar

import pytest


@dataclass(frozen=True)
class Exemption:
    """
    A test that may fail.

    Attributes:
        test: its name, `*` stands for anything (parametrised tests have numbers at the end).
        error: a regular expression that is found in the error's class and message.
        reason: why it cannot pass.
        students: names of the test classes that it fails in, `*` as above.
    """

    test: str
    error: str
    reason: str
    students: str = "*"


EXEMPTIONS: tuple[Exemption, ...] = ()

TestClass = TypeVar("TestClass", bound=type[unittest.TestCase])


def with_exemptions(test_class: TestClass) -> TestClass:
    """Class decorator: the exempted tests of this class must fail as [`EXEMPTIONS`] says.

    Raises:
        LookupError: an exemption names no test of the class.
    """
    for exemption in EXEMPTIONS:
        if not fnmatchcase(test_class.__name__, exemption.students):
            continue
        names = [name for name in dir(test_class) if fnmatchcase(name, exemption.test)]
        if not names:
            raise LookupError(f"The exempted {exemption.test} is no test of {test_class.__name__}.")
        for name in names:
            setattr(test_class, name, _must_fail(getattr(test_class, name), exemption))
    return test_class


def _must_fail(test: Callable[..., None], exemption: Exemption) -> Callable[..., None]:
    @functools.wraps(test)
    def run(self: unittest.TestCase) -> None:
        try:
            with _errors_leave_subtests(self):
                test(self)
        except unittest.SkipTest as skipped:
            self.fail(f"Exempted, but skipped ({skipped}): take it out of exemptions.py.")
        except Exception as error:
            if re.search(exemption.error, f"{type(error).__name__}: {error}") is None:
                raise
            pytest.xfail(exemption.reason)
        self.fail("Exempted, but it passes: take it out of exemptions.py.")

    return run


@contextmanager
def _errors_leave_subtests(case: unittest.TestCase) -> Iterator[None]:
    """Without this, `subTest` keeps the error to itself and goes on."""

    @contextmanager
    def without_subtests(*args: Any, **kwargs: Any) -> Iterator[None]:
        yield

    case.subTest = without_subtests  # type: ignore[method-assign]
    try:
        yield
    finally:
        del case.subTest
