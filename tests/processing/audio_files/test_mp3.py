import io

import numpy as np
import pytest
import soundfile

from tests.support.audio_files import encode
from tests.support.tiny import tone
from transformers_aura import AudioLoadingError, load_audio
from transformers_aura.processing.audio_files.mp3 import check_mp3


def mp3(seconds, sampling_rate, channels=1, bitrate_mode="VARIABLE"):
    # Loud noise and silence by turns: frames of very different sizes
    samples = tone(seconds, sampling_rate=sampling_rate)
    noise = np.random.default_rng(0).normal(scale=0.2, size=samples.shape)
    samples = samples + noise * (np.arange(len(samples)) // sampling_rate % 2)
    samples = np.stack([samples] * channels, axis=1)
    return encode(samples, sampling_rate, "MP3", "MPEG_LAYER_III", bitrate_mode=bitrate_mode)


def without_index(data):
    tag = data.find(b"Xing") if b"Xing" in data[:200] else data.find(b"Info")
    return data[data.index(data[:2], tag) :]  # from the second frame on


@pytest.mark.parametrize("bitrate_mode", ["VARIABLE", "CONSTANT"])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("sampling_rate", [8_000, 16_000, 22_050, 44_100, 48_000])
def test_no_mp3_loses_its_end(sampling_rate, channels, bitrate_mode):
    data = mp3(6.0, sampling_rate, channels, bitrate_mode)
    true_length = 6 * sampling_rate
    tolerance = 4 * 1152
    assert check_mp3(data).streams == [data]
    assert len(load_audio(data, target_sampling_rate=sampling_rate)) == pytest.approx(true_length, abs=2)

    bare = load_audio(without_index(data), target_sampling_rate=sampling_rate)
    assert abs(len(bare) - true_length) <= tolerance

    joined = load_audio(data + data, target_sampling_rate=sampling_rate)
    assert abs(len(joined) - 2 * true_length) <= 2 * tolerance
    assert np.abs(joined[-true_length // 2 :]).max() > 0.1


def test_the_index_changes_nothing_but_the_length_and_the_delay():
    bare = without_index(mp3(6.0, 16_000, bitrate_mode="CONSTANT"))
    (with_index,) = check_mp3(bare).streams
    assert with_index.endswith(bare)
    cut_off, _ = soundfile.read(io.BytesIO(bare), dtype="float32")
    indexed = load_audio(bare)
    delay = 529  # samples, of every MP3 decoder; an index makes it drop them
    assert len(cut_off) < len(indexed)
    np.testing.assert_allclose(indexed[: len(cut_off) - delay], cut_off[delay:], atol=1e-4)


def test_tags_are_stepped_over():
    bare = without_index(mp3(3.0, 16_000))
    expected = check_mp3(bare).min_samples
    id3 = b"ID3\x04\x00\x00" + bytes([0, 0, 2, 10]) + b"\xff\xfb\x90\x00" * 66 + b"\0\0"
    ape = b"APETAGEX" + (2000).to_bytes(4, "little") + (40).to_bytes(4, "little") + bytes(7) + b"\xa0" + bytes(48)
    for tags in (b"TAG" + bytes(125), id3, ape, b"LYRICSBEGINla la000011LYRICS200", bytes(500)):
        assert check_mp3(bare + tags).min_samples == expected
    joined = bare + id3 + bare
    assert abs(len(load_audio(id3 + joined)) - 96_000) < 8 * 1152


@pytest.mark.fault("audio")
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (mp3(2.0, 16_000)[:-1], "its last MP3 frame is cut off"),
        (without_index(mp3(2.0, 16_000))[:-1], "its last MP3 frame is cut off"),
        (mp3(2.0, 16_000) + b"not an mp3" * 100, "there is no MP3 frame at byte"),
        (mp3(2.0, 16_000) + mp3(2.0, 44_100), "change from mono at 16000 Hz to mono at 44100 Hz"),
        (mp3(2.0, 16_000, 2) + mp3(2.0, 16_000), "change from stereo at 16000 Hz to mono at 16000 Hz"),
        (mp3(2.0, 16_000)[:-2000], "truncated"),
        (without_index(mp3(4.0, 16_000))[:6000] + bytes(3000), "there is no MP3 frame"),
    ],
)
def test_frames_that_are_missing_or_damaged_are_told(data, message):
    with pytest.raises(AudioLoadingError, match=message):
        load_audio(data)
