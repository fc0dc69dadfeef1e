import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoFeatureExtractor, WhisperFeatureExtractor
from transformers.audio_utils import mel_filter_bank

from tests.support.tiny import tone
from tests.support.tolerance import assert_equal_but_for_rounding
from transformers_aura import AudioLoadingError, AuraFeatureExtractor
from transformers_aura.processing import feature_extraction_aura
from transformers_aura.processing.audio_loading import load_audio


pytestmark = pytest.mark.numerical

FIXTURES = Path(__file__).parents[1] / "fixtures" / "speech"
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


@pytest.mark.parametrize(
    "settings", [{}, {"feature_size": 128}, {"feature_size": 1}, {"feature_size": 23, "n_fft": 512}]
)
def test_mel_energies_leave_out_only_what_filters_do_not_see(settings):
    extractor = AuraFeatureExtractor(**settings)
    power = np.random.default_rng(0).chisquare(2, size=(7, 1 + extractor.n_fft // 2))
    np.testing.assert_allclose(extractor._mel_energies(power), power @ extractor.mel_filters, rtol=1e-13)


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
    # Above the target level a gain is a constant: no statistic of the clip takes it out again.
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


@pytest.mark.parametrize("seed", range(4))
def test_stream_equals_whole_clip_while_the_level_changes(seed, monkeypatch):
    monkeypatch.setattr(feature_extraction_aura, "_FRAMES_PER_PASS", 300)  # the level goes on from pass to pass
    generator = np.random.default_rng(seed)
    levels_db = np.repeat(generator.uniform(-90, -5, 20), 8_000)
    clip = (generator.standard_normal(len(levels_db)) * 10 ** (levels_db / 20)).astype(np.float32)
    extractor = AuraFeatureExtractor()
    stream, frames, position = extractor.stream(), [], 0
    while position < len(clip):
        size = int(generator.integers(1, 10_000))
        frames.append(stream.push(clip[position : position + size]))
        position += size
    frames.append(stream.finish())
    np.testing.assert_array_equal(np.concatenate(frames), features_of(clip, extractor).input_features[0])


def test_level_control_equals_the_formula():
    extractor = AuraFeatureExtractor(target_level_db=-30.0, max_gain_db=20.0)
    generator = np.random.default_rng(0)
    levels_db = np.repeat([-90.0, -35.0, -75.0, -10.0, -45.0, -70.0, -45.0, -45.0, -45.0, -45.0], 16_000)
    noise = (generator.standard_normal(len(levels_db)) * 10 ** (levels_db / 20)).astype(np.float32)
    mel = 10 ** (4 * features_of(noise, AuraFeatureExtractor(mel_floor=1e-30, max_gain_db=0.0)).input_features[0] - 4)
    full_scale = np.sum(extractor.window**2) * extractor.mel_filters.sum(axis=0).mean()
    loudest, softest, gains_db = -np.inf, np.inf, []
    for index, frame in enumerate(mel.astype(np.float64)):
        level_db = 10 * np.log10(frame.mean() / full_scale)
        loudest = max(loudest - 0.05, level_db)
        softest = min(softest + 0.05, level_db) if index > 1 else np.inf  # the first two windows are not full
        gains_db.append(np.clip(min(-30 - loudest, -30 - 25 - softest), 0, 20))
    boosted = mel * 10 ** (np.array(gains_db)[:, None] / 10)
    expected = (np.log10(np.maximum(boosted, 1e-8)) + 4) / 4
    np.testing.assert_allclose(features_of(noise, extractor).input_features[0], expected, atol=1e-4)
    assert gains_db[50] == 20.0  # faint: as much as there is
    # White noise with an RMS of -35 dB is at -35 dB, give or take what single frames differ.
    assert 2 < gains_db[150] < 6
    assert gains_db[250] == pytest.approx(gains_db[199] + 2.5, abs=1.0)  # half a second later, 5 dB a second
    assert gains_db[301] == 0.0  # as soon as it is loud
    assert gains_db[950] == 0.0  # what sounds all the time is noise


def test_noise_before_speech_is_not_raised():
    noise = 10 ** (-45 / 20) * np.random.default_rng(0).standard_normal(32_000).astype(np.float32)
    clip = np.concatenate([noise, load_audio(FIXTURES / "order_01.flac")])[: 32_000 + 24_000]
    without = features_of(clip, AuraFeatureExtractor(max_gain_db=0.0)).input_features[0]
    np.testing.assert_array_equal(features_of(clip).input_features[0][:200], without[:200])


def test_orders_at_all_levels_look_alike_and_loud_ones_as_they_were():
    speech = load_audio(FIXTURES / "order_01.flac")
    without, extractor = AuraFeatureExtractor(max_gain_db=0.0), AuraFeatureExtractor()
    loud = np.pad(speech, (0, 16_000))
    plain = features_of(loud, without).input_features[0]
    sounds = plain.max(axis=1) > plain.max() - 0.5
    np.testing.assert_array_equal(features_of(loud, extractor).input_features[0][sounds], plain[sounds])

    spread = []
    for found in (without, extractor):
        at_levels = [features_of(speech * 10 ** (db / 20), found).input_features[0] for db in (-20, -40)]
        spread.append(np.abs(at_levels[0] - at_levels[1])[sounds[: len(at_levels[0])]].mean())
    assert spread[1] < 0.25 * spread[0]


def test_silence_stays_silence_and_faint_noise_faint():
    extractor = AuraFeatureExtractor()
    silence = features_of(np.zeros(48_000, dtype=np.float32), extractor).input_features
    np.testing.assert_array_equal(silence, np.full_like(silence, extractor.padding_value))
    noise = (1e-5 * np.random.default_rng(0).standard_normal(48_000)).astype(np.float32)  # -100 dB: the last bits
    assert features_of(noise, extractor).input_features.mean() < -0.3


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
    in_lists = [
        {name: column[clip].tolist() for name, column in unpadded.items()} for clip in range(3)
    ]  # as a data set holds them
    for features in (unpadded, {"input_features": unpadded.input_features}, in_lists):
        padded = AuraFeatureExtractor().pad(features, return_tensors="pt")
        assert torch.equal(padded.input_features, batch.input_features)
        assert torch.equal(padded.input_features_mask, batch.input_features_mask)
    longer = features_of(clips, padding="max_length", max_length=250)
    np.testing.assert_array_equal(longer.input_features[:, :235], batch.input_features)
    assert longer.input_features_mask.sum(-1).tolist() == [235, 32, 1]
    assert longer.input_features.shape == (3, 250, 80)
    assert features_of(clips, pad_to_multiple_of=16).input_features_mask.shape == (3, 240)
    shorter = AuraFeatureExtractor().pad(unpadded, "max_length", max_length=20, truncation=True)
    assert shorter.input_features_mask.sum(-1).tolist() == [20, 20, 1]


def test_cutting_happens_only_when_asked():
    batch = features_of([SPEECH, SPEECH[:5_000]], truncate_to_seconds=1.0)
    assert batch.input_features_mask.sum(-1).tolist() == [100, 32]
    np.testing.assert_array_equal(batch.input_features[0], features_of(SPEECH).input_features[0][:100])
    with pytest.raises(ValueError, match="`truncate_to_seconds` must be above 0"):
        features_of(SPEECH, truncate_to_seconds=0)


@pytest.mark.parametrize(
    ("audio", "sampling_rate", "message"),
    [
        (SPEECH, 8_000, r"takes 16000 Hz, but `sampling_rate=8000`.*load_audio\(samples, sampling_rate=8000\)"),
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


@pytest.mark.fault("loading")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("mel_floor", value) for value in (0, -1e-8, math.nan, math.inf, 2.0, "1e-8", True, None)),
        *(("n_fft", value) for value in (0, 100, 20_000, 400.0, True, "400", math.nan)),
        *(("hop_length", value) for value in (0, -160, 20_000, 160.5, math.inf)),
        *(("feature_size", value) for value in (0, 201, 10_000, True, "80", 80.0)),
        *(("sampling_rate", value) for value in (0, -1, 1, 10**9, math.nan, 16_000.5, False)),
        *(("target_level_db", value) for value in (math.nan, -math.inf, 1e6, "-25")),
        *(("max_gain_db", value) for value in (-1.0, math.nan, math.inf, 1e6, True)),
    ],
)
def test_settings_that_cannot_be_are_refused_when_made_and_when_loaded(name, value, tmp_path):
    with pytest.raises((TypeError, ValueError), match=f"`{name}`"):
        AuraFeatureExtractor(**{name: value})
    AuraFeatureExtractor().save_pretrained(tmp_path)
    file = tmp_path / "preprocessor_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), name: value}))
    with pytest.raises((TypeError, ValueError), match=f"`{name}`"):
        AuraFeatureExtractor.from_pretrained(tmp_path)


def test_settings_survive_saving(tmp_path):
    extractor = AuraFeatureExtractor(feature_size=128, mel_floor=1e-6, target_level_db=-28.0, max_gain_db=12.0)
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
