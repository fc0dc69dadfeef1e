import functools
import random
import sys
import warnings

import numpy as np
import pytest

from tests.support.audio_files import BY_PYAV, KINDS, audio_file, encode, speech
from transformers_aura import AudioLoadingError, load_audio
from transformers_aura.processing.audio_files import results


whole_file = functools.cache(audio_file)
JOINED_IS_READ = {"flac", "ogg, Vorbis", "ogg, Opus", "mp3"}


def load(data):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return load_audio(data)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_read(kind):
    waveform = load(whole_file(kind))
    expected = speech()
    assert len(waveform) == pytest.approx(len(expected), abs=2048)  # what encoders add at the ends
    lag = np.argmax(np.correlate(waveform[:6000], expected[:3000])) if len(waveform) != len(expected) else 0
    n = min(len(waveform) - lag, len(expected))
    assert np.corrcoef(waveform[lag : lag + n], expected[:n])[0, 1] > 0.9


@pytest.mark.fault("audio")
@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_ends_too_early_is_an_error(kind):
    data = whole_file(kind)
    for kept in (0.03, 0.5, 0.97):
        with pytest.raises(
            AudioLoadingError, match=r"bytes given as audio is .*(truncated|damaged|cannot be decoded)"
        ):
            load(data[: int(len(data) * kept)])


@pytest.mark.fault("audio")
@pytest.mark.parametrize("kind", KINDS)
def test_a_hole_is_an_error(kind):
    data = whole_file(kind)
    middle = len(data) // 2
    with pytest.raises(AudioLoadingError, match=r"truncated|damaged"):
        load(data[:middle] + data[middle + len(data) // 7 :])


@pytest.mark.fault("audio")
@pytest.mark.parametrize("kind", KINDS)
def test_two_recordings_in_one_file_are_both_read_or_refused(kind):
    data = whole_file(kind)
    if kind in JOINED_IS_READ:
        once, twice = load(data), load(data + data)
        assert len(twice) == pytest.approx(2 * len(once), abs=4 * 1152)
        assert np.corrcoef(twice[-40_000:-2000], once[-40_000:-2000])[0, 1] > 0.9 or kind == "mp3"
    elif kind == "aac":  # a stream of frames, without a header
        assert len(load(data + data)) == 2 * len(load(data))
    else:
        with pytest.raises(AudioLoadingError, match=r"damaged|truncated"):
            load(data + data)


@pytest.mark.fault("audio")
@pytest.mark.parametrize("kind", KINDS)
def test_any_damage_ends_in_samples_or_an_error_that_names_the_file(kind):
    data = whole_file(kind)
    chance = random.Random(kind)
    for _ in range(40):
        damaged = bytearray(data)
        for _ in range(chance.choice((1, 1, 20))):
            where = chance.randrange(chance.choice((64, 256, len(data))))
            damaged[where : where + chance.choice((1, 1, 4))] = chance.randbytes(chance.choice((0, 1, 1, 4)))
        outcome = None
        try:
            waveform = load(bytes(damaged))
        except (AudioLoadingError, UserWarning) as error:
            outcome = str(error)
        if outcome is None:
            assert waveform.dtype == np.float32
            assert np.isfinite(waveform).all()
        else:
            assert f"the {len(damaged)} bytes given as audio" in outcome


@pytest.mark.fault("audio")
@pytest.mark.parametrize(
    ("kind", "part"),
    [
        ("webm, live", b"\xec\x80"),
        ("m4a", b"\0\0\0\x08free"),
        ("aac", b"\xff\xf1\x60\x40\0\xff\xfc"),
        ("mp3", b"ID3\x04\0\0\0\0\0\0"),
    ],
)
def test_a_file_of_nothing_but_small_parts_is_given_up(monkeypatch, kind, part):
    monkeypatch.setattr(results, "_MAX_PARTS", 10_000)
    with pytest.raises(AudioLoadingError, match="it has more than 10000 parts"):
        load(whole_file(kind) + part * 10_000)


def test_recordings_of_different_rates_in_one_file_are_refused():
    for format, subtype in (("FLAC", "PCM_16"), ("OGG", "OPUS")):
        joined = encode(speech(), 16_000, format, subtype) + encode(speech(), 8_000, format, subtype)
        with pytest.raises(AudioLoadingError, match="one at 16000 Hz and one at 8000 Hz"):
            load(joined)


def test_a_tag_in_front_is_stepped_over():
    tag = b"ID3\x04\x00\x00" + bytes([0, 0, 2, 10]) + b"\xff\xfb\x90\x00" * 66 + b"\0\0"
    for kind in ("flac", "mp3", "aac"):
        np.testing.assert_array_equal(load(tag + whole_file(kind)), load(whole_file(kind)))


def with_field(data, position, value, order="little", size=4):
    return data[:position] + value.to_bytes(size, order) + data[position + size :]


def test_a_files_own_numbers_are_checked():
    au = whole_file("au")
    with pytest.raises(AudioLoadingError, match=r"sampling rate in the .* must lie between 1000 and 768000 Hz, got 1"):
        load(with_field(au, 16, 1, "big"))
    with pytest.raises(AudioLoadingError, match=r"has 60 channels, but at most 8"):
        load(with_field(au, 20, 60, "big"))
    with pytest.raises(AudioLoadingError, match="longer than 3 s"):
        load_audio(au, max_seconds=3)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a", "a pointer of Git LFS"),
        (encode(speech(1.0), format="PAF"), "not an audio file that can be decoded"),  # states no length
        (b"#EXTM3U\nfile:///etc/passwd\n", "not an audio file that can be decoded"),  # ffmpeg would open other files
        (b"RIFF\x10\0\0\0AVI LIST", "not an audio file that can be decoded"),
        (b"\0\0\0\x18ftypM4A " + bytes(12), "is m4a or mp4, and ffmpeg cannot either"),
    ],
)
def test_what_is_no_audio_is_told(data, message):
    with pytest.raises(AudioLoadingError, match=message):
        load(data)


@pytest.mark.parametrize("kind", sorted({*BY_PYAV} - {"wav, mp3"}))
def test_without_pyav_the_error_names_the_extra(monkeypatch, kind):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(AudioLoadingError, match=r"pip install 'transformers-aura\[formats\]'"):
        load(whole_file(kind))
    load(whole_file("wav, mp3"))
