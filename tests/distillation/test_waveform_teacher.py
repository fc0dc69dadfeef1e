"""Encoders over the waveform as teachers: what their states are, alone and beside others, short and long."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.support.published import save_tiny_whisper
from tests.support.tiny import tone
from tests.support.tiny_waveform_encoder import save_tiny_waveform_encoder
from transformers_aura.distillation import waveform_teacher
from transformers_aura.distillation.waveform_teacher import WaveformTeacher


CLIPS = [tone(0.5, 300), tone(1.0, 200), tone(0.01, 200)]


@pytest.mark.parametrize("family", ["wav2vec2", "hubert", "wavlm", "unispeech-sat", "data2vec-audio"])
def test_states_are_those_of_the_encoder_alone(family, tmp_path):
    settings = {"conv_pos_kernel_size": 3} if family == "data2vec-audio" else {}
    teacher = WaveformTeacher.from_pretrained(save_tiny_waveform_encoder(tmp_path, family, **settings))
    output = teacher(CLIPS, [1, 0])
    assert output.lengths.tolist() == [24, 49, 1]
    assert [tuple(states.shape) for states in output.hidden_states] == [(3, 49, 16)] * 2
    for row, clip in enumerate(CLIPS[:2]):
        normalised = (clip - clip.mean()) / np.sqrt(clip.var() + 1e-7)
        with torch.no_grad():
            expected = teacher.encoder(torch.from_numpy(normalised)[None], output_hidden_states=True).hidden_states
        length = int(output.lengths[row])
        for states, layer in zip(output.hidden_states, (1, 0), strict=True):
            torch.testing.assert_close(states[row, :length], expected[layer + 1][0], atol=1e-5, rtol=1e-4)
            assert not states[row, length:].any()


def test_long_clips_are_cut_into_windows_that_overlap(tmp_path, monkeypatch):
    teacher = WaveformTeacher.from_pretrained(save_tiny_waveform_encoder(tmp_path))
    clip = tone(3.0, 250)
    whole = teacher([clip], [0])
    monkeypatch.setattr(waveform_teacher, "STATES_PER_WINDOW", 60)
    cut = teacher([clip], [0])
    assert cut.lengths.tolist() == whole.lengths.tolist() == [149]
    # Attention sees the window in place of the clip; the states stay in their places.
    similarity = torch.nn.functional.cosine_similarity(cut.hidden_states[0][0], whole.hidden_states[0][0], dim=-1)
    assert similarity.min() > 0.9
    assert not torch.equal(cut.hidden_states[0], whole.hidden_states[0])


def test_the_fingerprint_tells_weights_apart(tmp_path):
    first, again, other = (
        WaveformTeacher.from_pretrained(save_tiny_waveform_encoder(tmp_path / str(number), seed=seed)).fingerprint
        for number, seed in enumerate((0, 0, 1))
    )
    assert first == again != other


def test_errors_for_people(tmp_path):
    with pytest.raises(ValueError, match=r"is a whisper\. A second teacher is an encoder whose convolutions"):
        WaveformTeacher.from_pretrained(save_tiny_whisper(tmp_path / "whisper"))
    folder = save_tiny_waveform_encoder(tmp_path / "encoder")
    teacher = WaveformTeacher.from_pretrained(folder)
    with pytest.raises(ValueError, match=r"layers 0 to 1, asked for \[2\]"):
        teacher(CLIPS, [2])
    with pytest.raises(ValueError, match="holds NaN or infinity"):
        teacher([np.full(400, np.nan)])
    weights = folder / "model.safetensors"
    save_file({k: v for k, v in load_file(weights).items() if "layers.1" not in k}, weights, {"format": "pt"})
    with pytest.raises(ValueError, match=r"lacks 1. of the encoder's weights"):
        WaveformTeacher.from_pretrained(folder)


@pytest.mark.parametrize(
    ("settings", "do_normalize", "is_kept"),
    [
        ({"feat_extract_norm": "group"}, False, False),
        ({"feat_extract_norm": "layer", "conv_bias": False}, False, False),
        ({"feat_extract_norm": "layer", "conv_bias": True}, True, False),
        ({"feat_extract_norm": "layer", "conv_bias": True}, False, True),
    ],
)
def test_which_encoders_keep_loudness(settings, do_normalize, is_kept, tmp_path):
    teacher = WaveformTeacher.from_pretrained(save_tiny_waveform_encoder(tmp_path, **settings))
    teacher.feature_extractor.do_normalize = do_normalize
    loud, soft = (teacher([gain * tone(0.5, 300)], [1]).hidden_states[0] for gain in (1.0, 0.2))
    assert ((loud - soft).norm() > 0.1 * loud.norm()) == is_kept
