"""Forward probabilities are those of CTC, whole or in windows, of one text or many."""

import numpy as np
import pytest
import torch

from transformers_aura.modeling.ctc_forward import NEVER, CTCForward, Forward


STEPS, SYMBOLS = 12, 4


@pytest.fixture
def heard() -> np.ndarray:
    return np.random.default_rng(0).normal(scale=2.0, size=(STEPS, SYMBOLS)) - 1.0


@pytest.fixture
def forward(heard) -> CTCForward:
    return CTCForward(torch.tensor(heard).log_softmax(-1).numpy())


def of_text(forward: CTCForward, text: tuple[int, ...]) -> Forward:
    found = forward.nothing()
    for place, symbol in enumerate(text):
        last = text[place - 1] if place else 0
        found = forward.extend(Forward.stack([found]), np.array([last]), np.array([symbol]), np.array([place == 0]))[0]
    return found


def by_torch(forward: CTCForward, text: tuple[int, ...], steps: int = STEPS) -> float:
    loss = torch.nn.functional.ctc_loss(
        torch.tensor(forward.log_probabilities)[:steps, None], torch.tensor([text]), torch.tensor([steps]),
        torch.tensor([len(text)]), reduction="sum",
    )  # fmt: skip
    return -float(loss)


@pytest.mark.parametrize("text", [(1,), (2, 2), (1, 3, 2), (3, 3, 1, 1)])
def test_a_text_ends_at_each_step_as_torch_says(forward, text):
    either = of_text(forward, text).either
    for steps in range(1, STEPS + 1):
        expected = by_torch(forward, text, steps)
        if np.isfinite(expected):
            assert either[steps - 1] == pytest.approx(expected)
        else:
            assert either[steps - 1] < -1e20


def test_texts_are_compared_with_the_likeliest_path(forward):
    text = (1, 3, 2)
    likeliest = forward.log_probabilities.max(axis=1).sum()
    assert forward.fits_whole(of_text(forward, text)) == pytest.approx(by_torch(forward, text) - likeliest)
    peaked = np.full((4, SYMBOLS), 1e-9)
    peaked[range(4), [1, 0, 2, 3]] = 1.0
    sure = CTCForward(np.log(peaked / peaked.sum(1, keepdims=True)))
    fits = sure.fits(of_text(sure, (1, 2)))
    assert fits[2] == pytest.approx(0.0, abs=1e-6)  # all that was said by then
    assert fits[3] < -15  # and the last symbol was not


def test_many_at_once_are_as_each_alone(forward):
    texts = [(1,), (2, 2), (3, 1)]
    befores = [of_text(forward, text) for text in texts]
    together = forward.extend(
        Forward.stack(befores), np.array([1, 2, 1]), np.array([1, 3, 2]), np.array([False, False, False])
    )
    for index, (text, symbol) in enumerate(zip(texts, (1, 3, 2), strict=True)):
        alone = of_text(forward, (*text, symbol))
        np.testing.assert_allclose(together[index].either, alone.either)


def test_a_window_goes_on_where_another_ended():
    """Once nothing of a text is heard before and behind a window, the window is all that matters."""
    probabilities = np.full((STEPS, SYMBOLS), 1e-12)
    probabilities[:, 0] = 1.0
    probabilities[[2, 4, 9], 0] = 1e-12
    probabilities[[2, 4, 9], [1, 2, 3]] = 1.0
    forward = CTCForward(np.log(probabilities / probabilities.sum(1, keepdims=True)))
    begun = forward.window(of_text(forward, (1,)), 0, 4)
    then = forward.extend(
        Forward.stack([forward.window(begun, 1, 7)]), np.array([1]), np.array([2]), np.array([False])
    )[0]
    last = forward.extend(
        Forward.stack([forward.window(then, 5, STEPS)]), np.array([2]), np.array([3]), np.array([False])
    )[0]
    assert forward.fits_whole(last) == pytest.approx(0.0, abs=1e-6)
    assert (forward.window(begun, 6, 9).on_symbol == NEVER).all()


def test_anything_fits_but_for_the_penalty(forward):
    text = of_text(forward, (1, 3))
    number = forward.anything(text, empty=False, penalty=-2.0)
    best_start = max(forward.fits(text)[:-1])
    assert max(forward.fits(number)) >= best_start - 2.0
    first = forward.anything(forward.nothing(), empty=True, penalty=-2.0)
    assert forward.fits(first)[0] == pytest.approx(-2.0)
