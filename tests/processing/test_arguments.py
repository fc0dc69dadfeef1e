import math
from fractions import Fraction

import numpy as np
import pytest

from transformers_aura.processing import arguments


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3)])
def test_whole_numbers(value):
    assert arguments.whole_number("size", value, at_most=3) == 3
    assert type(arguments.whole_number("size", value)) is int


@pytest.mark.parametrize("value", [2, 2.0, np.float32(2), np.int16(2), Fraction(2)])
def test_numbers(value):
    assert arguments.real_number("weight", value, at_least=2, at_most=2) == 2.0
    assert type(arguments.real_number("weight", value, above=1)) is float


@pytest.mark.fault("requests")
@pytest.mark.parametrize("value", [True, None, "3", 3.0, [3], np.array([3]), np.True_, b"3", math.nan])
def test_what_is_no_whole_number_is_named(value):
    with pytest.raises(TypeError, match="`size` must be a whole number, got "):
        arguments.whole_number("size", value)


@pytest.mark.fault("requests")
def test_numbers_out_of_range_are_named():
    with pytest.raises(ValueError, match=r"`size` must be 1 or more, got 0\."):
        arguments.whole_number("size", 0)
    with pytest.raises(ValueError, match=r"`size` must be between 0 and 9, got 10\."):
        arguments.whole_number("size", 10, 0, 9)
    with pytest.raises(ValueError, match="got a whole number of thousands of digits"):
        arguments.whole_number("size", 10**5000, at_most=1)
    for value in (math.nan, math.inf, -math.inf, 10**400, 0, -1, 2):
        with pytest.raises(ValueError, match="`weight` must be above 0 and 1 or less, got"):
            arguments.real_number("weight", value, above=0, at_most=1)
    with pytest.raises(ValueError, match="`weight` must be finite, got nan"):
        arguments.real_number("weight", math.nan)
    for value in (True, "1", None, 1j, [1.0]):
        with pytest.raises(TypeError, match="`weight` must be a number, got"):
            arguments.real_number("weight", value)


@pytest.mark.fault("requests")
def test_texts():
    assert arguments.text("`question`", "NUL \0 and 😀") == "NUL \0 and 😀"
    with pytest.raises(TypeError, match=r"`question` must be a string, got a bytes\."):
        arguments.text("`question`", b"who")
    with pytest.raises(ValueError, match=r"`question` holds a lone surrogate \(U\+DC80 at character 1\)"):
        arguments.text("`question`", "a\udc80")
    with pytest.raises(TypeError, match=r"`pad` must be True or False, got 1\."):
        arguments.switch("pad", 1)
