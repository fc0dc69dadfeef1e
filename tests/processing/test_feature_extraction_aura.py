import json

import numpy as np
import pytest
import torch
from transformers import AutoFeatureExtractor, WhisperFeatureExtractor
from transformers.audio_utils import mel_filter_bank

from tests.support.tiny import tone
from tests.support.tolerance import assert_equal_but_for_rounding
from transformers_aura import AudioLoadingError, AuraFeatureExtractor
from transformers_aura.processing.audio_loading import load_audio


pytestmark = pytest.mark.numerical


SPEECH = tone(2.345, hertz=220) + tone(2.345, hertz=1_300, amplitude=0.05)


def features_of(audio, extractor=None, **kwargs):
    return (extractor or AuraFeatureExtractor())(audio, sampling_rate=16_000, **kwargs)


def test_a_frame_equals_the_formula():
    frames = features_of(SPEECH).input_features[0]
    filters = mel_filter_bank(201, 80, 0.0, 8_000.0, 16_000, norm="slaney", mel_scale="slaney")
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    for index in (0, 1, 100):
        start = (index + 1) * 160 - 400  # the window ends with the frame's last sample; before the clip is silence
        window = np.concatenate([np.zeros(max(0, -start)), SPEECH[max(0, start) : start + 400]])
        mel = np.abs(np.fft.rfft(window * hann)) ** 2 @ filters
        # Both are computed in double precision; ours is rounded once at the end.
        assert_equal_but_for_rounding(frames[index], (np.log10(np.maximum(mel, 1e-8)) + 4) / 4, terms=1)


@pytest.mark.parametrize("num_mel_bins", [80, 128])
def test_scale_and_filters_are_those_of_whisper(num_mel_bins):
    # Shifted by 120 samples, the causal window of frame t + 1 is Whisper's centred window of frame t.
    extractor = AuraFeatureExtractor(feature_size=num_mel_bins)
    whisper = WhisperFeatureExtractor(feature_size=num_mel_bins)
    padded = np.pad(SPEECH, (0, 400))
    theirs = whisper(padded, sampling_rate=16_000, return_tensors="np").input_features[0].T
    ours = features_of(np.pad(padded, (120, 0)), extractor).input_features[0]
    inner = slice(3, 200)
    shifted = ours[1:][inner]
    audible = theirs[inner] > theirs.max() - 1.9  # Whisper clamps 2 below the clip's maximum
    assert audible.mean() > 0.2
    np.testing.assert_allclose(shifted[audible], theirs[inner][audible], atol=2e-3)


@pytest.mark.parametrize("num_samples", [1, 159, 160, 161, 400, 16_000, 37_520])
def test_length_is_the_true_length(num_samples):
    extractor = AuraFeatureExtractor()
    batch = features_of(SPEECH[:num_samples], extractor, return_tensors="pt")
    expected = -(-num_samples // 160)
    assert batch.input_features.shape == (1, expected, 80)
    assert batch.input_features.dtype == torch.float32
    assert batch.input_features_mask.dtype == torch.bool
    assert batch.input_features_mask.all()
    assert extractor.num_frames(num_samples) == expected


def test_five_minutes_are_neither_cut_nor_padded():
    assert features_of(np.tile(SPEECH, 128)[: 300 * 16_000]).input_features.shape == (1, 30_000, 80)


def test_features_are_causal_and_per_frame():
    frames = features_of(SPEECH).input_features[0]
    changed = SPEECH.copy()
    changed[16_000:] *= 20 * np.sin(np.arange(len(SPEECH) - 16_000))
    np.testing.assert_array_equal(features_of(np.clip(changed, -8, 8)).input_features[0][:100], frames[:100])
    # A gain is a constant: no statistic of the clip takes it out again.
    louder = features_of(SPEECH * 2).input_features[0]
    audible = frames > -0.9
    gain = (louder - frames)[audible]
    assert_equal_but_for_rounding(gain, np.full_like(gain, np.log10(4) / 4), terms=3, scale=float(louder.max()))


@pytest.mark.parametrize("seed", range(4))
def test_stream_equals_whole_clip(seed):
    generator = np.random.default_rng(seed)
    extractor = AuraFeatureExtractor(feature_size=[80, 128][seed % 2])
    clip = SPEECH[: len(SPEECH) - int(generator.integers(0, 500))]
    stream = extractor.stream()
    frames, position = [], 0
    while position < len(clip):
        size = int(generator.choice([0, 1, 7, 160, 161, 1_000, 5_000]))
        frames.append(stream.push(clip[position : position + size]))
        position = min(position + size, len(clip))
        assert stream.num_samples == position
        assert sum(map(len, frames)) == position // 160  # a frame comes as soon as its last sample is in
    frames.append(stream.finish())
    assert stream.num_frames == extractor.num_frames(len(clip))
    np.testing.assert_array_equal(np.concatenate(frames), features_of(clip, extractor).input_features[0])
    with pytest.raises(RuntimeError, match="finished"):
        stream.push(clip)
    with pytest.raises(RuntimeError, match="finished"):
        stream.finish()


def test_streams_take_what_microphones_give_and_refuse_what_clips_refuse():
    integers = (SPEECH * 20_000).astype(np.int16)
    stream = AuraFeatureExtractor().stream()
    pushed = [stream.push(chunk) for chunk in np.array_split(integers, 7)]
    whole = features_of(integers).input_features[0]
    np.testing.assert_array_equal(np.concatenate([*pushed, stream.finish()]), whole)
    with pytest.raises(AudioLoadingError, match="the chunk of the stream holds 1 NaN"):
        AuraFeatureExtractor().stream().push(np.array([0.0, np.nan]))
    assert AuraFeatureExtractor().stream().finish().shape == (0, 80)


def test_batch_equals_singles_and_padding_is_silence():
    clips = [SPEECH, SPEECH[:5_000], SPEECH[:160]]
    batch = features_of(clips, return_tensors="pt")
    assert batch.input_features_mask.sum(-1).tolist() == [235, 32, 1]
    for row, mask, clip in zip(batch.input_features, batch.input_features_mask, clips, strict=True):
        alone = features_of(clip, return_tensors="pt").input_features[0]
        assert torch.equal(row[mask], alone)
        assert (row[~mask] == AuraFeatureExtractor().padding_value).all()
    silence = features_of(np.zeros(1_600, dtype=np.float32)).input_features
    np.testing.assert_array_equal(silence, np.full((1, 10, 80), AuraFeatureExtractor().padding_value))

    unpadded = features_of(clips, padding=False)
    assert [frames.shape for frames in unpadded.input_features] == [(235, 80), (32, 80), (1, 80)]


def test_cutting_happens_only_when_asked():
    batch = features_of([SPEECH, SPEECH[:5_000]], truncate_to_seconds=1.0)
    assert batch.input_features_mask.sum(-1).tolist() == [100, 32]
    np.testing.assert_array_equal(batch.input_features[0], features_of(SPEECH).input_features[0][:100])
    with pytest.raises(ValueError, match="`truncate_to_seconds` must be above 0"):
        features_of(SPEECH, truncate_to_seconds=0)


@pytest.mark.parametrize(
    ("audio", "sampling_rate", "message"),
    [
        (SPEECH, None, "Pass `sampling_rate=`"),
        (SPEECH, 8_000, r"hears 16000 Hz, but `sampling_rate=8000`.*load_audio\(samples, sampling_rate=8000\)"),
        (np.stack([SPEECH, SPEECH]), 16_000, r"shape \(n_samples,\), got \(2, 37520\)"),
        ("clip.wav", 16_000, "takes samples, not 'clip.wav'"),
        ([], 16_000, "the list of clips is empty"),
        (SPEECH[:0], 16_000, "is empty: it has 0 samples"),
        (SPEECH * np.nan, 16_000, "NaN or infinite"),
    ],
)
def test_wrong_input_is_an_error(audio, sampling_rate, message):
    with pytest.raises(AudioLoadingError, match=message):
        AuraFeatureExtractor()(audio, sampling_rate=sampling_rate)


def test_impossible_settings_are_an_error():
    with pytest.raises(ValueError, match="`n_fft`"):
        AuraFeatureExtractor(n_fft=100)
    with pytest.raises(ValueError, match="`mel_floor`"):
        AuraFeatureExtractor(mel_floor=0.0)


def test_settings_survive_saving(tmp_path):
    extractor = AuraFeatureExtractor(feature_size=128, mel_floor=1e-6)
    extractor.save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "preprocessor_config.json").read_text())
    assert "mel_filters" not in saved
    assert "window" not in saved
    for loaded in (AuraFeatureExtractor.from_pretrained(tmp_path), AutoFeatureExtractor.from_pretrained(tmp_path)):
        assert isinstance(loaded, AuraFeatureExtractor)
        assert loaded.to_dict() == extractor.to_dict()
        np.testing.assert_array_equal(
            features_of(SPEECH, loaded).input_features, features_of(SPEECH, extractor).input_features
        )


def test_fetched_audio_keeps_its_rate(tmp_path):
    import soundfile

    soundfile.write(tmp_path / "clip.wav", SPEECH, 8_000)
    fetched = AuraFeatureExtractor().fetch_audio([str(tmp_path / "clip.wav"), SPEECH])
    assert fetched[0]["sampling_rate"] == 16_000
    np.testing.assert_array_equal(fetched[0]["array"], load_audio(tmp_path / "clip.wav"))
    assert fetched[1] is SPEECH
