import io

import numpy as np
import pytest
import soundfile

from tests.support.tiny import tone
from transformers_aura import load_audio
from transformers_aura.processing.mp3_index import count_mp3_samples, has_mp3_index, with_mp3_index


def mp3(seconds, sampling_rate, channels=1, bitrate_mode="VARIABLE"):
    # Loud noise and silence by turns: frames of very different sizes
    samples = tone(seconds, sampling_rate=sampling_rate)
    noise = np.random.default_rng(0).normal(scale=0.2, size=samples.shape)
    samples = samples + noise * (np.arange(len(samples)) // sampling_rate % 2)
    buffer = io.BytesIO()
    soundfile.write(
        buffer,
        np.stack([samples] * channels, axis=1),
        sampling_rate,
        format="MP3",
        subtype="MPEG_LAYER_III",
        bitrate_mode=bitrate_mode,
    )
    return buffer.getvalue()


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
    assert abs(count_mp3_samples(data) - true_length) <= tolerance
    whole = load_audio(data, target_sampling_rate=sampling_rate)
    assert abs(len(whole) - true_length) <= tolerance

    bare = without_index(data)
    loaded = load_audio(bare, target_sampling_rate=sampling_rate)
    assert abs(len(loaded) - true_length) <= tolerance

    joined = load_audio(data + data, target_sampling_rate=sampling_rate)
    assert abs(len(joined) - 2 * true_length) <= 2 * tolerance
    assert np.abs(joined[-true_length // 2 :]).max() > 0.1


def test_the_index_changes_nothing_but_the_length_and_the_delay():
    bare = without_index(mp3(6.0, 16_000, bitrate_mode="CONSTANT"))
    assert not has_mp3_index(bare)
    assert has_mp3_index(with_mp3_index(bare))
    stated = soundfile.info(io.BytesIO(with_mp3_index(bare))).frames
    assert count_mp3_samples(bare) - 1152 <= stated <= count_mp3_samples(bare)  # without the decoder's delay
    cut_off, _ = soundfile.read(io.BytesIO(bare), dtype="float32")
    indexed, _ = soundfile.read(io.BytesIO(with_mp3_index(bare)), dtype="float32")
    delay = 529  # samples, of every MP3 decoder; an index makes it drop them
    assert len(cut_off) < len(indexed)
    np.testing.assert_allclose(indexed[: len(cut_off) - delay], cut_off[delay:], atol=1e-4)


def test_tags_are_stepped_over():
    bare = without_index(mp3(3.0, 16_000))
    expected = count_mp3_samples(bare)
    tag = b"ID3\x04\x00\x00" + bytes([0, 0, 2, 10]) + b"\xff\xfb\x90\x00" * 66 + b"\0\0"
    assert count_mp3_samples(tag + bare + b"TAG" + bytes(125)) == expected
    assert count_mp3_samples(bare + tag + bare) == 2 * expected
    assert abs(len(load_audio(tag + bare + tag + bare)) - 96_000) < 8 * 1152
    with pytest.raises(ValueError, match="no MP3 frame"):
        with_mp3_index(b"not an mp3" * 100)
