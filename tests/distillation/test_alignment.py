import pytest
import torch

from transformers_aura.distillation.alignment import map_layers, num_teacher_states, pool_teacher_states


pytestmark = pytest.mark.numerical


def mapped(mapping, student=20, teacher=4, **kwargs):
    return map_layers(mapping, num_student_layers=student, num_teacher_layers=teacher, **kwargs)


def test_uniform_spreads_over_the_student_and_ends_at_both_ends():
    assert mapped("uniform") == [(4, 0), (9, 1), (14, 2), (19, 3)]
    assert mapped("uniform", student=5, teacher=4) == [(0, 0), (1, 1), (2, 2), (4, 3)]
    # The paper's sizes: 24 LoRA layers, 32 encoder layers.
    paper = mapped("uniform", student=24, teacher=32)
    assert len(paper) == 24
    assert paper[0] == (0, 0)
    assert paper[-1] == (23, 31)
    assert [student for student, _ in paper] == list(range(24))
    assert len({teacher for _, teacher in paper}) == 24


def test_shallow_last_and_explicit():
    assert mapped("shallow") == [(0, 0), (1, 1), (2, 2), (3, 3)]
    assert mapped("last") == [(16, 0), (17, 1), (18, 2), (19, 3)]
    assert mapped("last", student=2) == [(0, 2), (1, 3)]
    # Explicit pairs may reach above the LoRA layers, in any order, as lists (YAML has no tuples).
    assert mapped([[25, 3], [1, 0]], num_decoder_layers=30) == [(1, 0), (25, 3)]
    assert mapped([[0, 1], [-1, 0]]) == [(-1, 0), (0, 1)]  # -1: the patch embedding


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ("middle", "uniform, shallow, last"),
        ([], "empty"),
        ([(0, 4)], "encoder layers 0 to 3"),
        ([(20, 0)], "decoder layers 0 to 19"),
        ([(-2, 0)], "decoder layers 0 to 19"),
        ([(0, 0), (0, 0)], "twice"),
        ([(0, 1.5)], "integers"),
        ([(0, 1, 2)], "pair of integers"),
    ],
)
def test_mapping_errors_name_the_value(mapping, message):
    with pytest.raises(ValueError, match=message):
        mapped(mapping)


def test_a_student_without_lora_layers_is_refused():
    with pytest.raises(ValueError, match="lora_num_layers=0"):
        mapped("uniform", student=0)


def column(*values):
    return torch.tensor(values, dtype=torch.float32)[None, :, None]


def test_mean_of_whole_and_partial_windows():
    # 11 frames, 4 a token: 6 states (the last half real), 3 tokens of 2 states each.
    pooled, mask = pool_teacher_states(column(1, 3, 5, 7, 9, 11), torch.tensor([11]), 4)
    assert mask.tolist() == [[True, True, True]]
    assert pooled[0, :, 0].tolist() == [2, 6, 10]
    # 9 frames: 5 states, the last window holds one of them.
    pooled, _ = pool_teacher_states(column(1, 3, 5, 7, 9), torch.tensor([9]), 4)
    assert pooled[0, :, 0].tolist() == [2, 6, 9]


def test_mean_with_an_odd_window_shares_the_straddling_state():
    # 6 frames, 3 a token: states 0, 1, 2 stand for frames (0, 1), (2, 3), (4, 5); state 1 counts half in each window.
    pooled, _ = pool_teacher_states(column(0, 3, 6), torch.tensor([6]), 3)
    assert pooled[0, :, 0].tolist() == [pytest.approx(1.0), pytest.approx(5.0)]


def test_interpolation_takes_the_centre_of_the_window():
    # States at frame times 1, 3, 5, ...; window centres at 4 and 12 for 8 frames a token.
    states = column(*range(8))
    pooled, _ = pool_teacher_states(states, torch.tensor([16]), 8, "interpolate")
    assert pooled[0, :, 0].tolist() == [1.5, 5.5]
    # 10 frames: the last window holds frames 8 and 9, centre 9 = state 4 exactly.
    pooled, _ = pool_teacher_states(column(*range(5)), torch.tensor([10]), 8, "interpolate")
    assert pooled[0, :, 0].tolist() == [1.5, 4.0]
    # One frame: only state 0 exists.
    pooled, _ = pool_teacher_states(column(7, 100), torch.tensor([1]), 8, "interpolate")
    assert pooled[0, :, 0].tolist() == [7.0]


@pytest.mark.parametrize("time_alignment", ["mean", "interpolate"])
@pytest.mark.parametrize("frames_per_token", [3, 4, 8, 16])
def test_padding_never_enters(time_alignment, frames_per_token):
    generator = torch.Generator().manual_seed(0)
    num_frames = torch.tensor([37, 5, 64])
    states = torch.randn(3, 40, 2, generator=generator)
    for row, frames in enumerate(num_frames.tolist()):
        states[row, num_teacher_states(frames) :] = float("nan")
    pooled, mask = pool_teacher_states(states, num_frames, frames_per_token, time_alignment)
    assert mask.sum(dim=1).tolist() == [-(-frames // frames_per_token) for frames in num_frames.tolist()]
    assert torch.isfinite(pooled).all()
    assert (pooled[~mask] == 0).all()
    for row in range(len(num_frames)):
        alone, _ = pool_teacher_states(
            states[row : row + 1], num_frames[row : row + 1], frames_per_token, time_alignment
        )
        torch.testing.assert_close(pooled[row, : alone.shape[1]], alone[0], rtol=0, atol=0)


def test_a_constant_stays_constant():
    for time_alignment in ("mean", "interpolate"):
        for frames_per_token in (1, 2, 3, 8):
            pooled, mask = pool_teacher_states(
                torch.full((1, 20, 1), 3.0), torch.tensor([39]), frames_per_token, time_alignment
            )
            torch.testing.assert_close(pooled[mask], torch.full_like(pooled[mask], 3.0))


def test_pooling_errors():
    with pytest.raises(ValueError, match="mean, interpolate"):
        pool_teacher_states(column(1), torch.tensor([2]), 8, "nearest")
    with pytest.raises(ValueError, match="10 teacher states, but only 3"):
        pool_teacher_states(column(1, 2, 3), torch.tensor([20]), 8)
