import math

import pytest
import torch

from transformers_aura.distillation.losses import (
    AnswerKLLoss,
    CosineLoss,
    CTCLoss,
    LanguageModelingLoss,
    MSELoss,
    TextStateLoss,
)


pytestmark = pytest.mark.numerical


def test_cosine_equals_the_hand_computed_number():
    prediction = torch.tensor([[3.0, 4.0], [1.0, 1.0], [2.0, 0.0]])
    target = torch.tensor([[4.0, 3.0], [-2.0, -2.0], [0.0, 5.0]])
    # 24/25; opposite; orthogonal.
    torch.testing.assert_close(CosineLoss()(prediction, target), torch.tensor([1 - 24 / 25, 2.0, 1.0]))


def test_mse_equals_the_hand_computed_number():
    prediction = torch.tensor([[1.0, 2.0], [0.0, 0.0]])
    target = torch.tensor([[3.0, 5.0], [1.0, -1.0]])
    torch.testing.assert_close(MSELoss()(prediction, target), torch.tensor([(4 + 9) / 2, 1.0]))


def test_language_modeling_equals_the_hand_computed_number():
    logits = torch.tensor([[0.0, math.log(3.0)], [math.log(4.0), 0.0]])
    # p = 3/4 and p = 1/5.
    expected = torch.tensor([-math.log(3 / 4), -math.log(1 / 5)])
    torch.testing.assert_close(LanguageModelingLoss()(logits, torch.tensor([1, 1])), expected)


def test_answer_kl_equals_the_hand_computed_number():
    teacher = torch.tensor([[math.log(0.5), math.log(0.5)]])
    student = torch.tensor([[math.log(0.25), math.log(0.75)]])
    expected = 0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75)
    torch.testing.assert_close(AnswerKLLoss()(student, teacher), torch.tensor([expected]))
    # Temperature 2: probabilities go with the square root; times 4.
    p = math.sqrt(0.25) / (math.sqrt(0.25) + math.sqrt(0.75))
    softened = 4 * (0.5 * math.log(0.5 / p) + 0.5 * math.log(0.5 / (1 - p)))
    torch.testing.assert_close(AnswerKLLoss(temperature=2.0)(student, teacher), torch.tensor([softened]))


def test_answer_kl_teaches_the_student_only():
    student = torch.randn(2, 5, requires_grad=True)
    teacher = torch.randn(2, 5, requires_grad=True)
    AnswerKLLoss()(student, teacher).sum().backward()
    assert teacher.grad is None
    # d KL / d logits = softmax(student) - softmax(teacher).
    torch.testing.assert_close(student.grad, student.softmax(-1).detach() - teacher.softmax(-1).detach())


def test_answer_kl_refuses_a_temperature_of_zero():
    with pytest.raises(ValueError, match="above 0, got 0"):
        AnswerKLLoss(temperature=0)


def test_ctc_equals_the_sum_over_all_alignments():
    # Two steps, blank / a / b with p = (0.2, 0.5, 0.3) and (0.6, 0.3, 0.1).
    logits = torch.tensor([[[0.2, 0.5, 0.3], [0.6, 0.3, 0.1]]]).log().repeat(4, 1, 1)
    steps = torch.tensor([2, 2, 2, 1])
    targets = torch.tensor([[1, 0], [1, 2], [0, 0], [1, 2]])
    lengths = torch.tensor([1, 2, 0, 2])
    # "a": a-, -a, aa; "ab": ab alone; no transcript; more characters than steps.
    a = 0.5 * 0.6 + 0.2 * 0.3 + 0.5 * 0.3
    expected = torch.tensor([-math.log(a), -math.log(0.5 * 0.1), 0.0, 0.0])
    torch.testing.assert_close(CTCLoss()(logits, steps, targets, lengths), expected)


def test_losses_are_float32_for_half_inputs():
    prediction, target = torch.randn(3, 4).bfloat16(), torch.randn(3, 4).bfloat16()
    assert CosineLoss()(prediction, target).dtype == torch.float32
    assert MSELoss()(prediction, target).dtype == torch.float32
    assert AnswerKLLoss()(prediction, target).dtype == torch.float32


def test_text_state_equals_the_hand_computed_number():
    prediction = torch.tensor([[1.0, 2.0], [0.0, 0.0]], requires_grad=True)
    target = torch.tensor([[3.0, 4.0], [6.0, 8.0]], requires_grad=True)
    loss = TextStateLoss()(prediction, target)
    torch.testing.assert_close(loss, torch.tensor([(4 + 4) / 25, 1.0]))
    loss.sum().backward()
    assert target.grad is None
