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
        cases: names of the test cases that it fails in, `*` as above.
    """

    test: str
    error: str
    reason: str
    cases: str


EXEMPTIONS = (
    Exemption(
        "test_can_init_all_missing_weights",
        r"AdapterMismatchError: The weights in `state_dict` do not fit `config`:\n  missing: ",
        "It loads an empty state dict and looks at what is initialised instead. Weights that are missing are an error here, unless the "
        "caller asks for the report; tests/modeling/test_loading.py asks for it and looks at the same.",
        cases="*StudentTest",
    ),
    Exemption(
        "test_training",
        r"element 0 of tensors does not require grad",
        "The base LLM is frozen and LoRA is off in rows without audio, so that they stay the base LLM's bit for bit: nothing to train.",
        cases="*TextStudentTest",
    ),
    Exemption(
        "test_retain_grad_hidden_states_attentions",
        r"can't retain_grad on Tensor that has requires_grad=False",
        "The same: no state of a row without audio depends on a trainable weight.",
        cases="*TextStudentTest",
    ),
    Exemption(
        "test_model_rope_scaling_from_config_*",
        r"ValueError: The request is too long for the LLM, which takes 512 tokens",
        "It runs 768 tokens through an LLM of 512, which is an error here. Other families pass it: their scaled rotary embedding takes "
        "more; Gemma's limit has the scaling in it already.",
        cases="Gemma3*StudentTest",
    ),
    Exemption(
        "test_chat_template_audio_sampling_rate",
        r"'NoneType' object has no attribute 'kwargs'",
        "It watches which rate `apply_chat_template` hands to `__call__`. Here it does not call it: each recording keeps its own rate.",
        cases="ProcessorTest",
    ),
    Exemption(
        "test_chat_template_message_objects",
        r'has a part of type "image_url", but an AuRA student takes audio and text only',
        "Its message holds a picture. tests/processing/test_processing_aura.py has messages as objects with recordings.",
        cases="ProcessorTest",
    ),
)

TestClass = TypeVar("TestClass", bound=type[unittest.TestCase])


def with_exemptions(test_class: TestClass) -> TestClass:
    """Class decorator: the exempted tests of this class must fail as [`EXEMPTIONS`] says.

    Raises:
        LookupError: an exemption names no test of the class.
    """
    for exemption in EXEMPTIONS:
        if not fnmatchcase(test_class.__name__, exemption.cases):
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
