import pytest
import torch

from tests.support.tolerance import assert_equal_but_for_rounding, num_terms


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_another_order_of_a_sum_passes_and_a_wrong_term_does_not(dtype):
    generator = torch.Generator().manual_seed(0)
    terms = torch.rand(100, 300, generator=generator).to(dtype)
    there, back = (torch.zeros(100, dtype=dtype) for _ in range(2))
    for column in range(300):  # one after the other: the worst order
        there, back = there + terms[:, column], back + terms[:, -1 - column]
    assert not torch.equal(there, back)
    assert_equal_but_for_rounding(there, back, terms=300)
    wrong = there.clone()
    wrong[7] *= 1 + 100 * torch.finfo(dtype).eps
    with pytest.raises(AssertionError, match="of the seventh"):
        assert_equal_but_for_rounding(wrong, there, terms=300, what="of the seventh")


def test_terms_are_those_of_all_weights_on_the_way():
    module = torch.nn.Sequential(torch.nn.Conv1d(8, 4, kernel_size=3), torch.nn.GELU(), torch.nn.Linear(4, 2))
    assert num_terms(module) == 8 * 3 + 4
