import numpy as np
import pytest
import torch
from transformers import WhisperConfig, WhisperFeatureExtractor
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from tests.support.tolerance import assert_equal_but_for_rounding, num_terms
from transformers_aura.distillation.attention_kernels import mean_attention_by_distance
from transformers_aura.distillation.teacher import AuraTeacher


pytestmark = pytest.mark.numerical


def tiny_teacher():
    torch.manual_seed(0)
    config = WhisperConfig(
        d_model=24, encoder_layers=2, encoder_attention_heads=3, encoder_ffn_dim=32, num_mel_bins=80
    )
    encoder = WhisperEncoder(config)
    for layer in encoder.layers:
        for projection in (layer.self_attn.q_proj, layer.self_attn.k_proj):
            projection.weight.data.mul_(20)  # far from uniform
    return AuraTeacher(encoder, WhisperFeatureExtractor(), pad_to_seconds=1)


def test_means_are_those_of_the_attention_weights_that_the_encoder_gives():
    teacher, generator = tiny_teacher(), np.random.default_rng(0)
    clips = [generator.standard_normal(size).astype(np.float32) * 0.1 for size in (16000, 8000)]
    kernels = mean_attention_by_distance(teacher, clips, past_steps=3, future_steps=2)
    assert kernels.shape == (2, 3, 6)
    teacher.encoder.set_attn_implementation("eager")
    total, num_states = torch.zeros(2, 3, 6), 0
    seen = []
    hooks = [
        layer.self_attn.register_forward_hook(lambda _m, _i, out: seen.append(out[1]))
        for layer in teacher.encoder.layers
    ]
    for clip in clips:
        seen.clear()
        length = int(teacher([clip]).lengths[0])
        num_states += length
        for index, weights in enumerate(seen):
            for state in range(length):
                for column, other in enumerate(range(state - 3, state + 3)):
                    if 0 <= other < length:
                        total[index, :, column] += weights[0, :, state, other]
    assert len(seen) == 2
    terms = num_terms(teacher.encoder, positions=50) + num_states
    assert_equal_but_for_rounding(kernels, total / num_states, terms)
    assert kernels.std() > 0.003, "the heads differ"
    for hook in hooks:
        hook.remove()


def test_no_clip_is_an_error_and_no_hook_is_left():
    teacher = tiny_teacher()
    with pytest.raises(ValueError, match="at least one clip"):
        mean_attention_by_distance(teacher, [], 3, 2)
    mean_attention_by_distance(teacher, [np.zeros(800, dtype=np.float32)], 3, 2)
    assert not any(module._forward_hooks for module in teacher.encoder.modules())
