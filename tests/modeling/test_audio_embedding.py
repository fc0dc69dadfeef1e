import pytest
import torch
from transformers import WhisperConfig
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from tests.support.tolerance import assert_equal_but_for_rounding, num_terms
from transformers_aura import AuraAudioConfig
from transformers_aura.modeling.audio_embedding import (
    AuraAudioEmbedding,
    KernelConvBlock,
    kernel_over_means,
    mean_of_strides,
)


pytestmark = pytest.mark.numerical


def embedding(**settings):
    torch.manual_seed(0)
    return AuraAudioEmbedding(AuraAudioConfig(conv_width=24, **settings), hidden_size=32).eval()


def clips(*lengths, num_mel_bins=80):
    torch.manual_seed(1)
    features = torch.randn(len(lengths), max(lengths), num_mel_bins)
    mask = torch.arange(max(lengths)) < torch.tensor(lengths).unsqueeze(-1)
    return features, mask


KERNEL_BLOCKS = {"conv_blocks": 2, "conv_block_type": "kernel", "tokens_per_block": 3}
SHAPES = [
    {"patch_embedding": "linear"},
    {"conv_blocks": 0},
    {"conv_blocks": 2},
    KERNEL_BLOCKS,
    {**KERNEL_BLOCKS, "tokens_per_block": None},
    {**KERNEL_BLOCKS, "frames_per_step": 4},
]


@pytest.mark.parametrize("settings", SHAPES)
@pytest.mark.parametrize("frames_per_token", [4, 8, 16])
def test_a_clip_is_embedded_alike_alone_and_in_a_batch(settings, frames_per_token):
    module = embedding(**settings, frames_per_token=frames_per_token)
    features, mask = clips(50, 7, 33)
    batch, token_mask = module(features, mask)
    for row, length in enumerate((50, 7, 33)):
        alone, alone_mask = module(features[row : row + 1, :length], mask[row : row + 1, :length])
        assert token_mask[row].sum() == alone_mask.sum() == -(-length // frames_per_token)
        assert_equal_but_for_rounding(batch[row][token_mask[row]], alone[0], num_terms(module))


@pytest.mark.parametrize("settings", SHAPES)
def test_audio_that_goes_on_is_embedded_as_the_whole_clip(settings):
    module = embedding(**settings)
    features, mask = clips(203, 160)
    whole, token_mask = module(features, mask)
    if module.tokens_per_part is None:
        return
    frames = 2 * module.tokens_per_part * module.frames_per_token
    past, parts = {}, []
    for start in range(0, 203, frames):
        before = dict(past)
        module(features[:, start : start + 5], mask[:, start : start + 5], past=before)  # a look ahead leaves no trace
        parts.append(module(features[:, start : start + frames], mask[:, start : start + frames], past=past))
    embeddings, masks = (torch.cat(tensors, dim=1) for tensors in zip(*parts, strict=True))
    assert torch.equal(masks, token_mask)
    assert_equal_but_for_rounding(embeddings[token_mask], whole[token_mask], num_terms(module))


@pytest.mark.parametrize("settings", SHAPES)
def test_a_long_clip_takes_no_more_memory_at_once(settings, monkeypatch):
    module = embedding(**settings)
    features, mask = clips(203, 160)
    whole, token_mask = module(features, mask)
    monkeypatch.setattr("transformers_aura.modeling.audio_embedding.TOKENS_AT_ONCE", 7)
    longest = []
    module.proj.register_forward_hook(lambda module, args, output: longest.append(output.shape[1]))
    in_parts, parts_mask = module(features, mask)
    assert max(longest) <= 7 or module.tokens_per_part is None
    assert torch.equal(parts_mask, token_mask)
    assert_equal_but_for_rounding(in_parts[token_mask], whole[token_mask], num_terms(module))


def test_kernel_blocks_hear_ahead_to_the_end_of_a_block_of_audio_and_no_further():
    module = embedding(**{**KERNEL_BLOCKS, "tokens_per_block": 2})
    features, mask = clips(64)
    changed = features.clone()
    changed[:, 32:] += 1.0  # frames of tokens 4 to 7, of the third block of two tokens on
    before, after = module(features, mask)[0], module(changed, mask)[0]
    assert torch.equal(before[:, :4], after[:, :4])
    changed = features.clone()
    changed[:, 24:32] += 1.0  # frames of token 3, the end of the second block
    after = module(changed, mask)[0]
    assert torch.equal(before[:, :2], after[:, :2])
    assert not torch.allclose(before[:, 2], after[:, 2])


@pytest.mark.parametrize("settings", SHAPES[:3])
def test_no_audio_token_depends_on_a_later_frame(settings):
    module = embedding(**settings)
    features, mask = clips(64)
    changed = features.clone()
    changed[:, 40:] += 1.0  # frames of tokens 5, 6, 7
    before, after = module(features, mask)[0], module(changed, mask)[0]
    assert torch.equal(before[:, :5], after[:, :5])
    assert not torch.allclose(before[:, 5:], after[:, 5:])


def test_longer_steps_begin_as_means_of_shorter_ones():
    torch.manual_seed(2)
    weight, signal = torch.randn(5, 4, 3).double(), torch.randn(1, 4, 33).double()
    outputs = torch.nn.functional.conv1d(signal, weight, stride=2)
    means = torch.nn.functional.conv1d(signal, mean_of_strides(weight, 2, 2), stride=4)
    torch.testing.assert_close(means, outputs.unflatten(-1, (-1, 2)).mean(-1))

    kernel = torch.randn(1, 1, 12).double()
    kernel[..., [0, 1, -2, -1]] = 0  # else a mean has no room at the far ends for what the kernel holds
    over_means = kernel_over_means(kernel, past_steps=6, count=2)
    assert over_means.shape == (1, 1, 3 + 1 + 2)
    slow = torch.randn(1, 1, 20).double()
    outputs = torch.nn.functional.conv1d(torch.nn.functional.pad(slow.repeat_interleave(2, -1), (6, 5)), kernel)
    means = torch.nn.functional.conv1d(torch.nn.functional.pad(slow, (3, 2)), over_means)
    torch.testing.assert_close(means, outputs.unflatten(-1, (-1, 2)).mean(-1))


def test_conv_blocks_need_a_stem():
    with pytest.raises(ValueError, match="0 for the linear patch embedding"):
        embedding(patch_embedding="linear", conv_blocks=1)
    with pytest.raises(ValueError, match="`conv_blocks` must be between 0 and 1024, got -1"):
        embedding(conv_blocks=-1)


def tiny_encoder(layers=1, heads=2):
    torch.manual_seed(2)
    config = WhisperConfig(
        d_model=24, encoder_layers=layers, encoder_attention_heads=heads, encoder_ffn_dim=96, num_mel_bins=80
    )
    return WhisperEncoder(config).eval()


def test_stem_starts_from_the_teachers():
    encoder = tiny_encoder()
    module = embedding()
    module.init_from_teacher(encoder)
    features, _ = clips(64)
    # The student's stem is the teacher's, one frame late: it pads the first convolution on the left only.
    states = torch.nn.functional.gelu(module.conv1(torch.nn.functional.pad(features.transpose(1, 2), (2, 0))))
    teachers = torch.nn.functional.gelu(encoder.conv1(features.transpose(1, 2)))
    assert_equal_but_for_rounding(states[:, :, 1:], teachers[:, :, :-1], num_terms(module.conv1))
    with pytest.raises(ValueError, match="num_mel_bins=80, conv_width=24"):
        AuraAudioEmbedding(AuraAudioConfig(conv_width=16), 32).init_from_teacher(encoder)
    with pytest.raises(ValueError, match="conv"):
        embedding(patch_embedding="linear").init_from_teacher(encoder)


def test_a_kernel_block_is_the_teachers_layer_where_its_heads_attend_by_distance():
    encoder = tiny_encoder()
    layer = encoder.layers[0]
    block = KernelConvBlock(24, frames_per_step=2, steps_per_block=None).eval()
    kernels = torch.rand(2, block.past_steps + 1 + block.future_steps)
    block.init_from_teacher(layer, kernels)
    states = torch.randn(1, 60, 24)
    # The same layer with its attention weights given: each head's is a band matrix of its kernel.
    distances = torch.arange(60) - torch.arange(60)[:, None] + block.past_steps
    inside = (distances >= 0) & (distances < kernels.shape[1])
    weights = kernels[:, distances.clamp(0, kernels.shape[1] - 1)] * inside
    values = layer.self_attn.v_proj(layer.self_attn_layer_norm(states)).unflatten(-1, (2, 12)).transpose(1, 2)
    attended = (weights @ values).transpose(1, 2).flatten(2)
    expected = states + layer.self_attn.out_proj(attended)
    expected = expected + layer.fc2(layer.activation_fn(layer.fc1(layer.final_layer_norm(expected))))
    found = block(states, torch.ones(1, 60, dtype=torch.bool))
    assert_equal_but_for_rounding(found, expected, num_terms(block))


def test_kernel_blocks_take_as_many_layers_and_kernels_as_the_teacher_has():
    encoder = tiny_encoder(layers=2)
    module = embedding(**KERNEL_BLOCKS)
    with pytest.raises(ValueError, match="pass `attention_kernels`"):
        module.init_from_teacher(encoder)
    with pytest.raises(ValueError, match=r"kernels of shape \(2, 41\)"):
        module.init_from_teacher(encoder, torch.zeros(2, 2, 7))
    module.init_from_teacher(encoder, torch.rand(2, 2, 41))
    assert torch.equal(module.blocks[1].value.weight, encoder.layers[1].self_attn.v_proj.weight)
    assert torch.equal(module.blocks_norm.weight, encoder.layer_norm.weight)
    with pytest.raises(ValueError, match="fewer than `conv_blocks=2`"):
        module.init_from_teacher(tiny_encoder(layers=1), torch.rand(1, 2, 41))


def test_features_of_another_extractor_are_an_error():
    features, mask = clips(16, num_mel_bins=128)
    with pytest.raises(ValueError, match=r"80\); got \(1, 16, 128\)"):
        embedding()(features, mask)
