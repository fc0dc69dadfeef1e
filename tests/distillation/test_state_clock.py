"""Which states of an encoder over the waveform belong to which audio token."""

import pytest
import torch

from transformers_aura.distillation.state_clock import StateClock


WAV2VEC2 = StateClock.of_convolutions([10, 3, 3, 3, 3, 2, 2], [5, 2, 2, 2, 2, 2, 2])


def test_the_clock_follows_from_the_convolutions():
    assert WAV2VEC2 == StateClock(samples_per_state=320, receptive_field=400)
    assert [WAV2VEC2.num_states(n) for n in (0, 399, 400, 719, 720, 16_000)] == [0, 0, 1, 1, 2, 49]


def pooled(alignment, num_states, num_frames, frames_per_token=8):
    """Of states that are their own centre in seconds."""
    centre = (200 + 320 * torch.arange(max(num_states))) / 16_000
    states = torch.stack([centre, centre.square()], -1).expand(len(num_states), -1, -1).clone()
    for row, count in enumerate(num_states):
        states[row, count:] = 0.0
    return WAV2VEC2.pool(states, torch.tensor(num_states), torch.tensor(num_frames), frames_per_token, alignment)


@pytest.mark.parametrize("alignment", ["mean", "interpolate"])
@pytest.mark.parametrize("frames_per_token", [4, 5, 8, 16])
def test_a_token_gets_the_states_of_its_time(alignment, frames_per_token):
    """States are their time, so a token's mean is the middle of its window, but at the ends of the clip."""
    num_frames = 100
    tokens, mask = pooled(alignment, [WAV2VEC2.num_states(num_frames * 160)], [num_frames], frames_per_token)
    middle = (torch.arange(mask.shape[1]) + 0.5) * frames_per_token / 100
    assert mask.all()
    inner = slice(1, num_frames // frames_per_token - 1)
    torch.testing.assert_close(tokens[0, inner, 0], middle[inner], atol=0.0026, rtol=0)
    assert tokens[0, :, 0].diff().min() >= 0


def test_states_count_by_their_share_of_the_window():
    """Token 0 spans samples 0 to 640: all of state 0 (40 to 360) and 280 of 320 samples of state 1."""
    tokens, _ = pooled("mean", [49], [100], frames_per_token=4)
    expected = (320 * 200 + 280 * 520) / 600 / 16_000
    assert tokens[0, 0, 0].item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("alignment", ["mean", "interpolate"])
def test_a_batch_is_its_clips(alignment):
    lengths = [(49, 100), (1, 1), (12, 25)]
    together, mask = pooled(alignment, [states for states, _ in lengths], [frames for _, frames in lengths])
    for row, (states, frames) in enumerate(lengths):
        alone, _ = pooled(alignment, [states], [frames])
        assert mask[row].sum() == alone.shape[1] == -(-frames // 8)
        torch.testing.assert_close(together[row, : alone.shape[1]], alone[0])
        assert not together[row, alone.shape[1] :].any()
    assert together.isfinite().all()


def test_an_unknown_alignment():
    with pytest.raises(ValueError, match="`time_alignment='max'` is not known; use one of mean, interpolate"):
        pooled("max", [49], [100])
