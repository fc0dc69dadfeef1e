import pytest
import torch

from tests.support.tolerance import assert_equal_but_for_rounding
from transformers_aura.distillation.heads import DistillationHeads, TeacherStatistics


pytestmark = pytest.mark.numerical


PAIRS = [(1, 0), (3, 2), (4, 2)]


def test_shapes_and_layers():
    heads = DistillationHeads(PAIRS, student_width=6, teacher_width=4)
    assert heads.teacher_layers == [0, 2]
    assert heads.student_depths == (2, 4, 5)
    assert DistillationHeads([(-1, 0), (-1, 1)], 6, 4).student_depths == (0,)
    outputs = heads([torch.randn(5, 6) for _ in PAIRS])
    assert [tuple(output.shape) for output in outputs] == [(5, 4)] * 3


def test_statistics_standardise_each_dimension_over_batches():
    torch.manual_seed(0)
    states = torch.randn(2, 500, 4) * torch.tensor([1.0, 100.0, 0.5, 3.0]) + torch.tensor([0.0, 50.0, -1.0, 2.0])
    statistics = TeacherStatistics(2, 4)
    for chunk in states.split(130, dim=1):
        statistics.update(chunk)
    heads = DistillationHeads(PAIRS, student_width=6, teacher_width=4)
    heads.set_statistics(statistics)
    normalized = heads.normalize_targets(states)
    # 500 states, whose mean is up to 100 times their deviation (50 to 0.5).
    assert_equal_but_for_rounding(normalized.mean(dim=1), torch.zeros(2, 4), terms=500, scale=100.0)
    # A dimension below a hundredth of the mean deviation is not blown up (0.5 against a mean of 26).
    assert_equal_but_for_rounding(normalized.std(dim=1, correction=0), torch.ones(2, 4), terms=500, scale=100.0)


def test_a_dead_dimension_is_not_blown_up():
    states = torch.randn(1, 100, 2, generator=torch.Generator().manual_seed(0))
    states[..., 1] = 7.0 + 1e-4 * states[..., 1]
    statistics = TeacherStatistics(1, 2)
    statistics.update(states)
    _, std = statistics.mean_and_std()
    assert std[0, 1] == pytest.approx(0.01 * float(states[0].std(dim=0, correction=0).mean()), rel=1e-3)


def test_other_normalisations():
    states = torch.randn(2, 3, 4)
    assert torch.equal(DistillationHeads(PAIRS, 6, 4, "none").normalize_targets(states), states)
    normalized = DistillationHeads(PAIRS, 6, 4, "layer_norm").normalize_targets(states)
    assert_equal_but_for_rounding(normalized.mean(dim=-1), torch.zeros(2, 3), terms=4, scale=2.0)
    with pytest.raises(ValueError, match="standardize, layer_norm, none"):
        DistillationHeads(PAIRS, 6, 4, "batch")
    with pytest.raises(RuntimeError, match="set_statistics"):
        DistillationHeads(PAIRS, 6, 4).normalize_targets(states)


def test_save_and_load_round_trip(tmp_path):
    heads = DistillationHeads(PAIRS, 6, 4, seed=1)
    statistics = TeacherStatistics(2, 4)
    statistics.update(torch.randn(2, 10, 4))
    heads.set_statistics(statistics)
    heads.save(tmp_path / "heads.safetensors")
    other = DistillationHeads(PAIRS, 6, 4, seed=2)
    assert not torch.equal(other.heads[0][1].weight, heads.heads[0][1].weight)
    other.load_from(tmp_path / "heads.safetensors")
    for name, tensor in heads.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name
    assert not other.needs_statistics


def test_loading_errors_name_what_differs(tmp_path):
    path = tmp_path / "heads.safetensors"
    DistillationHeads(PAIRS, 6, 4, "none").save(path)
    with pytest.raises(ValueError, match="teacher_width=4"):
        DistillationHeads(PAIRS, 6, 8, "none").load_from(path)
    with pytest.raises(ValueError, match="teacher_normalization='none'"):
        DistillationHeads(PAIRS, 6, 4, "layer_norm").load_from(path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match="damaged"):
        DistillationHeads(PAIRS, 6, 4, "none").load_from(path)
    with pytest.raises(FileNotFoundError, match="checkpoint"):
        DistillationHeads(PAIRS, 6, 4, "none").load_from(tmp_path / "no.safetensors")


def test_initial_weights_do_not_touch_the_global_random_state():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    DistillationHeads(PAIRS, 6, 4)
    assert torch.equal(torch.rand(1), expected)
