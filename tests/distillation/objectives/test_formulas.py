"""The formulas of the objectives, against numbers computed by hand."""

import doctest
import importlib
import inspect
import math
import pkgutil

import pytest
import torch

from transformers_aura.distillation import objectives
from transformers_aura.distillation.objectives import (
    AnswerKLObjective,
    CosineObjective,
    LanguageModelingObjective,
    MSEObjective,
    TextStatesObjective,
)


def test_cosine_equals_the_hand_computed_number():
    prediction = torch.tensor([[3.0, 4.0], [1.0, 1.0], [2.0, 0.0]])
    target = torch.tensor([[4.0, 3.0], [-2.0, -2.0], [0.0, 5.0]])
    # 24/25; opposite; orthogonal.
    torch.testing.assert_close(CosineObjective.distances(prediction, target), torch.tensor([1 - 24 / 25, 2.0, 1.0]))


def test_mse_equals_the_hand_computed_number():
    prediction = torch.tensor([[1.0, 2.0], [0.0, 0.0]])
    target = torch.tensor([[3.0, 5.0], [1.0, -1.0]])
    torch.testing.assert_close(MSEObjective.distances(prediction, target), torch.tensor([(4 + 9) / 2, 1.0]))


def test_language_modeling_equals_the_hand_computed_number():
    logits = torch.tensor([[0.0, math.log(3.0)], [math.log(4.0), 0.0]])
    # p = 3/4 and p = 1/5.
    expected = torch.tensor([-math.log(3 / 4), -math.log(1 / 5)])
    torch.testing.assert_close(LanguageModelingObjective.cross_entropies(logits, torch.tensor([1, 1])), expected)


def test_answer_kl_equals_the_hand_computed_number():
    teacher = torch.tensor([[math.log(0.5), math.log(0.5)]])
    student = torch.tensor([[math.log(0.25), math.log(0.75)]])
    expected = 0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75)
    torch.testing.assert_close(AnswerKLObjective.divergences(student, teacher), torch.tensor([expected]))


def test_answer_kl_teaches_the_student_only():
    student = torch.randn(2, 5, requires_grad=True)
    teacher = torch.randn(2, 5, requires_grad=True)
    AnswerKLObjective.divergences(student, teacher).sum().backward()
    assert teacher.grad is None
    # d KL / d logits = softmax(student) - softmax(teacher).
    torch.testing.assert_close(student.grad, student.softmax(-1).detach() - teacher.softmax(-1).detach())


def test_losses_are_float32_for_half_inputs():
    prediction, target = torch.randn(3, 4).bfloat16(), torch.randn(3, 4).bfloat16()
    assert CosineObjective.distances(prediction, target).dtype == torch.float32
    assert MSEObjective.distances(prediction, target).dtype == torch.float32
    assert AnswerKLObjective.divergences(prediction, target).dtype == torch.float32


def test_text_state_equals_the_hand_computed_number():
    prediction = torch.tensor([[1.0, 2.0], [0.0, 0.0]], requires_grad=True)
    target = torch.tensor([[3.0, 4.0], [6.0, 8.0]], requires_grad=True)
    loss = TextStatesObjective.distances(prediction, target)
    torch.testing.assert_close(loss, torch.tensor([(4 + 4) / 25, 1.0]))
    loss.sum().backward()
    assert target.grad is None


@pytest.mark.parametrize("name", [module.name for module in pkgutil.iter_modules(objectives.__path__)])
def test_examples_run_as_they_stand(name):
    module = importlib.import_module(f"{objectives.__name__}.{name}")
    found = doctest.testmod(module)
    assert found.failed == 0
    defined = [
        value for value in vars(module).values() if isinstance(value, type) and value.__module__ == module.__name__
    ]
    if any(issubclass(value, objectives.Objective) and not inspect.isabstract(value) for value in defined):
        assert found.attempted > 0, "each objective has an example"
