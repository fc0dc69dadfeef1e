import itertools

import numpy as np
import pytest
import torch
from transformers import WhisperFeatureExtractor, WhisperForConditionalGeneration, WhisperModel
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from tests.distillation.support import tiny_whisper_config
from tests.support.tolerance import assert_equal_but_for_rounding, num_terms
from transformers_aura.distillation.teacher import SAMPLES_PER_STATE, AuraTeacher


pytestmark = pytest.mark.numerical


def noise(seconds, seed=0):
    return np.random.default_rng(seed).normal(scale=0.1, size=round(seconds * 16000)).astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("whisper")
    torch.manual_seed(0)
    WhisperForConditionalGeneration(tiny_whisper_config()).save_pretrained(path)
    WhisperFeatureExtractor().save_pretrained(path)
    return path


def test_states_equal_those_of_transformers(folder):
    teacher = AuraTeacher.from_pretrained(folder)
    reference = WhisperForConditionalGeneration.from_pretrained(folder).eval().model.encoder
    clips = [noise(2.0), noise(0.505, seed=1), noise(30.0, seed=2)]
    features = WhisperFeatureExtractor.from_pretrained(folder)(clips, sampling_rate=16000, return_tensors="pt")
    with torch.no_grad():
        expected = reference(features.input_features, output_hidden_states=True).hidden_states
    output = teacher(clips)
    assert output.lengths.tolist() == [100, 26, 1500]
    for layer, states in enumerate(output.hidden_states):
        assert states.shape == (3, 1500, 16)
        for row, length in enumerate(output.lengths.tolist()):
            assert torch.equal(states[row, :length], expected[layer + 1][row, :length])
            assert not states[row, length:].any()


@pytest.mark.parametrize("architecture", [WhisperModel, WhisperEncoder])
def test_every_way_to_save_a_whisper_loads(tmp_path, folder, architecture):
    whisper = WhisperForConditionalGeneration.from_pretrained(folder)
    (whisper.model if architecture is WhisperModel else whisper.model.encoder).save_pretrained(tmp_path)
    WhisperFeatureExtractor().save_pretrained(tmp_path)
    expected = AuraTeacher.from_pretrained(folder)([noise(1)])
    output = AuraTeacher.from_pretrained(tmp_path)([noise(1)])
    assert all(torch.equal(a, b) for a, b in zip(output.hidden_states, expected.hidden_states, strict=True))


def test_only_the_encoder_is_kept_and_frozen(folder):
    teacher = AuraTeacher.from_pretrained(folder)
    assert isinstance(teacher.encoder, WhisperEncoder)
    assert not teacher.encoder.training
    assert not any(p.requires_grad for p in teacher.encoder.parameters())
    assert not teacher([noise(1)]).hidden_states[0].requires_grad
    assert (teacher.num_layers, teacher.width) == (3, 16)


def test_layers_are_chosen_in_order(folder):
    teacher = AuraTeacher.from_pretrained(folder)
    every = teacher([noise(1)]).hidden_states
    some = teacher([noise(1)], layers=[2, 0]).hidden_states
    assert len(some) == 2
    assert torch.equal(some[0], every[2])
    assert torch.equal(some[1], every[0])
    with pytest.raises(ValueError, match="layers 0 to 2"):
        teacher([noise(1)], layers=[3])


def test_shorter_padding_does_not_depend_on_the_batch(folder):
    teacher = AuraTeacher.from_pretrained(folder, pad_to_seconds=2.0)
    clips = [noise(1.3), noise(7.9, seed=1), noise(2.0, seed=2)]
    together = teacher(clips)
    for row, clip in enumerate(clips):
        alone = teacher([clip])
        length = int(alone.lengths[0])
        terms = num_terms(teacher.encoder, positions=length)
        assert_equal_but_for_rounding(together.hidden_states[2][row, :length], alone.hidden_states[2][0], terms)
    assert teacher._windows(0, len(clips[1]), 395)[0].samples == 8 * 16000


def test_long_clips_are_windows_with_context_on_both_sides():
    # A window of 2 s; margins of a sixth of it, 17 states.
    teacher = AuraTeacher.from_random(tiny_whisper_config(max_source_positions=100))
    clip = noise(7.77)
    output = teacher([clip, noise(1.0, seed=1)])
    states = output.hidden_states[1][0]
    assert output.lengths.tolist() == [389, 50]
    windows = teacher._windows(0, clip.size, 389)
    assert windows[0].keep_from == 0
    assert windows[-1].keep_to == 389
    for window, following in itertools.pairwise(windows):
        assert window.keep_to == following.keep_from
        assert window.start + 100 - window.keep_to >= 17
        assert following.keep_from - following.start >= 17
    assert all(window.samples == 32000 for window in windows)
    # Each kept window is what the encoder says of that window alone, at its real place in time.
    for window in windows:
        window_clip = clip[window.start * SAMPLES_PER_STATE :][:32000]
        alone = teacher([window_clip]).hidden_states[1][0]
        kept = slice(window.keep_from - window.start, window.keep_to - window.start)
        terms = num_terms(teacher.encoder, positions=100)
        assert_equal_but_for_rounding(states[window.keep_from : window.keep_to], alone[kept], terms)


def test_exactly_one_window_and_one_sample_more():
    teacher = AuraTeacher.from_random(tiny_whisper_config(max_source_positions=100))
    assert teacher([noise(2.0)]).lengths.tolist() == [100]
    longer = np.append(noise(2.0), np.float32(0.1))
    assert teacher([longer]).lengths.tolist() == [101]


def test_random_control_is_reproducible_and_differs(folder):
    one, same, other = (AuraTeacher.from_random(folder, seed=seed) for seed in (1, 1, 2))
    assert one.fingerprint == same.fingerprint != other.fingerprint
    assert one.fingerprint != AuraTeacher.from_pretrained(folder).fingerprint
    assert "random weights" in one.name_or_path


def test_fingerprint_knows_the_padding(folder):
    assert AuraTeacher.from_pretrained(folder).fingerprint == AuraTeacher.from_pretrained(folder).fingerprint
    assert (
        AuraTeacher.from_pretrained(folder, pad_to_seconds=5).fingerprint
        != AuraTeacher.from_pretrained(folder).fingerprint
    )


def test_128_mels():
    teacher = AuraTeacher.from_random(tiny_whisper_config(num_mel_bins=128))
    assert teacher([noise(0.5)]).hidden_states[0].shape == (1, 25, 16)


def test_errors_name_the_problem(tmp_path, folder):
    teacher = AuraTeacher.from_pretrained(folder)
    with pytest.raises(ValueError, match=r"shape \(100, 2\)"):
        teacher([np.zeros((100, 2), dtype=np.float32)])
    with pytest.raises(ValueError, match=r"shape \(0,\)"):
        teacher([np.zeros(0, dtype=np.float32)])
    with pytest.raises(ValueError, match="NaN"):
        teacher([np.full(100, np.nan, dtype=np.float32)])
    with pytest.raises(ValueError, match="at most 30"):
        AuraTeacher.from_pretrained(folder, pad_to_seconds=31)
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(ValueError, match="Whisper family"):
        AuraTeacher.from_pretrained(tmp_path)
