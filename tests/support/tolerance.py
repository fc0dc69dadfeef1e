"""How far two computations of the same numbers may lie apart, from the number format and the size of the sums.

A sum of floating-point numbers depends on the order in which it is taken, and the order depends on the processor (the width of
its vectors, fused multiply-add), on the shape of a batch, and on where in memory a matrix lies. A tolerance that was read off on
one machine fails on another. This one follows from the arithmetic.
"""

import statistics
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn


SAFETY_FACTOR = 4.0
"""Times the expected rounding. One rounding errs by 0.29 eps (a standard deviation, at most); two computations differ by
sqrt(2) times that, so 4 eps are ten standard deviations: the largest of a million differences stays below six."""


def rounding(terms: int, scale: float, dtype: torch.dtype = torch.float32) -> float:
    """The largest absolute difference that rounding explains: `SAFETY_FACTOR * eps(dtype) * sqrt(terms) * scale`.

    Rounding errors have either sign, so they grow with the square root of the number of roundings (N. J. Higham and T. Mary, "A new
    approach to probabilistic rounding error analysis", 2019), not with the number itself.

    Args:
        terms: numbers that are added up, one sum after the other, from the inputs to a result; [`num_terms`] counts those of a
            network.
        scale: size of the largest number that is added up; what the results themselves reach, unless their terms cancel.
        dtype: the format of the computation.
    """
    return SAFETY_FACTOR * torch.finfo(dtype).eps * terms**0.5 * scale


def num_terms(module: nn.Module, positions: int = 0) -> int:
    """Numbers that are added up on the way through `module`.

    Each linear and each convolution layer adds as many as a row of its weight has, as if all layers came one after the other. Of
    an LLM that attends to so many `positions`, each layer adds these too.
    """
    rows = [m.weight[0].numel() for m in module.modules() if isinstance(m, nn.Linear | nn.Conv1d)]
    layers = sum(len(m) for name, m in module.named_modules() if name.rpartition(".")[2] == "layers")
    return sum(rows) + layers * positions


def assert_equal_but_for_rounding(
    found: Any, expected: Any, terms: int, scale: float | None = None, dtype: torch.dtype | None = None, what: str = ""
) -> None:
    """`found` equals `expected`, tensors, arrays or numbers, but for the [`rounding`] of sums of so many `terms`.

    Args:
        found: what is tested.
        expected: what it shall be, of the same shape.
        terms: see [`rounding`].
        scale: see [`rounding`]; the largest absolute value of `expected` by default.
        dtype: the format of the computation, that of `found` by default; float32 of plain numbers.
        what: the name of what is compared, for the message.
    """
    if dtype is None:
        dtype = torch.as_tensor(found).dtype if isinstance(found, torch.Tensor | np.ndarray) else torch.float32
    found, expected = (torch.as_tensor(values).detach().double() for values in (found, expected))
    if scale is None:
        scale = float(expected.abs().max())
    torch.testing.assert_close(
        found, expected, rtol=0, atol=rounding(terms, scale, dtype), msg=lambda text: f"{what}\n{text}".lstrip()
    )


def assert_same_gradients(found: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor], terms: int) -> None:
    """Gradients by parameter name are the same but for the [`rounding`] of sums of `terms` on the way there, and as many back.

    A gradient is small where its terms cancel; its terms are taken to be as large as those of half of the other parameters.
    """
    assert found.keys() == expected.keys()
    largest = {name: float(gradient.abs().max()) for name, gradient in expected.items()}
    median = statistics.median(largest.values())
    for name, gradient in found.items():
        assert_equal_but_for_rounding(gradient, expected[name], 2 * terms, max(largest[name], median), what=name)
