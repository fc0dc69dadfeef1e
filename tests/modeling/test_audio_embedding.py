import pytest
import torch
from transformers import WhisperConfig
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from transformers_aura import AuraAudioConfig
from transformers_aura.modeling.audio_embedding import AuraAudioEmbedding


def embedding(**settings):
    torch.manual_seed(0)
    return AuraAudioEmbedding(AuraAudioConfig(conv_width=24, **settings), hidden_size=32).eval()


def clips(*lengths, num_mel_bins=80):
    torch.manual_seed(1)
    features = torch.randn(len(lengths), max(lengths), num_mel_bins)
    mask = torch.arange(max(lengths)) < torch.tensor(lengths).unsqueeze(-1)
    return features, mask


@pytest.mark.parametrize(("patch_embedding", "conv_blocks"), [("conv", 0), ("conv", 2), ("linear", 0)])
@pytest.mark.parametrize("frames_per_token", [4, 8, 16])
def test_a_clip_is_embedded_alike_alone_and_in_a_batch(patch_embedding, conv_blocks, frames_per_token):
    module = embedding(patch_embedding=patch_embedding, conv_blocks=conv_blocks, frames_per_token=frames_per_token)
    features, mask = clips(50, 7, 33)
    batch, token_mask = module(features, mask)
    for row, length in enumerate((50, 7, 33)):
        alone, alone_mask = module(features[row : row + 1, :length], mask[row : row + 1, :length])
        assert token_mask[row].sum() == alone_mask.sum() == -(-length // frames_per_token)
        torch.testing.assert_close(batch[row][token_mask[row]], alone[0], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(("patch_embedding", "conv_blocks"), [("conv", 0), ("conv", 2), ("linear", 0)])
def test_no_audio_token_depends_on_a_later_frame(patch_embedding, conv_blocks):
    module = embedding(patch_embedding=patch_embedding, conv_blocks=conv_blocks)
    features, mask = clips(64)
    changed = features.clone()
    changed[:, 40:] += 1.0  # frames of tokens 5, 6, 7
    before, after = module(features, mask)[0], module(changed, mask)[0]
    torch.testing.assert_close(before[:, :5], after[:, :5], atol=0, rtol=0)
    assert not torch.allclose(before[:, 5:], after[:, 5:])


def test_conv_blocks_need_a_stem():
    with pytest.raises(ValueError, match="0 for the linear patch embedding"):
        embedding(patch_embedding="linear", conv_blocks=1)
    with pytest.raises(ValueError, match="`conv_blocks` must be 0 or more"):
        embedding(conv_blocks=-1)


def test_stem_starts_from_the_teachers():
    encoder = WhisperEncoder(
        WhisperConfig(d_model=24, encoder_layers=1, encoder_attention_heads=2, encoder_ffn_dim=32, num_mel_bins=80)
    )
    module = embedding()
    module.init_from_teacher_stem(encoder.conv1, encoder.conv2)
    features, _ = clips(64)
    # The student's stem is the teacher's, one frame late: it pads the first convolution on the left only.
    states = torch.nn.functional.gelu(module.conv1(torch.nn.functional.pad(features.transpose(1, 2), (2, 0))))
    teachers = torch.nn.functional.gelu(encoder.conv1(features.transpose(1, 2)))
    torch.testing.assert_close(states[:, :, 1:], teachers[:, :, :-1], atol=1e-5, rtol=1e-4)
    with pytest.raises(ValueError, match="num_mel_bins=80, conv_width=24"):
        AuraAudioEmbedding(AuraAudioConfig(conv_width=16), 32).init_from_teacher_stem(encoder.conv1, encoder.conv2)
    with pytest.raises(ValueError, match="conv"):
        embedding(patch_embedding="linear").init_from_teacher_stem(encoder.conv1, encoder.conv2)


def test_features_of_another_extractor_are_an_error():
    features, mask = clips(16, num_mel_bins=128)
    with pytest.raises(ValueError, match=r"80\); got \(1, 16, 128\)"):
        embedding()(features, mask)
