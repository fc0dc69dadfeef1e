import base64
import io
import json
import sys
import time
import types
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from tests.support.audio_files import encode
from tests.support.tiny import tone
from tests.support.tolerance import assert_equal_but_for_rounding
from transformers_aura import AudioLoadingError, load_audio
from transformers_aura.processing.audio_loading import SilentAudioWarning


FORMATS = [
    ("WAV", "PCM_16"),
    ("WAV", "PCM_24"),
    ("WAV", "PCM_U8"),
    ("WAV", "FLOAT"),
    ("FLAC", "PCM_16"),
    ("AIFF", "PCM_16"),
    ("MP3", "MPEG_LAYER_III"),
    ("OGG", "VORBIS"),
    ("OGG", "OPUS"),
]
TONE = tone(1.5)


@pytest.mark.parametrize(("format", "subtype"), FORMATS)
def test_every_way_to_hand_over_a_file_gives_the_same_waveform(tmp_path, format, subtype):
    data = encode(TONE, format=format, subtype=subtype)
    path = tmp_path / f"clip.{format.lower()}"
    path.write_bytes(data)
    text = base64.b64encode(data).decode()

    expected = load_audio(path)
    for source in (
        str(path),
        path.as_uri(),
        data,
        bytearray(data),
        memoryview(data),
        io.BytesIO(data),
        text,
        "\n".join(text[start : start + 76] for start in range(0, len(text), 76)),
        base64.urlsafe_b64encode(data).decode().rstrip("="),
        f"data:audio/{format.lower()};base64,{text}",
        {"path": str(path)},
        {"bytes": data, "path": "/on/another/machine.wav"},
        {"bytes": None, "path": str(path)},
        {"path": path, "sampling_rate": 16_000},
    ):
        np.testing.assert_array_equal(load_audio(source), expected)
    with open(path, "rb") as file:
        np.testing.assert_array_equal(load_audio(file), expected)

    assert expected.dtype == np.float32
    assert expected.shape == TONE.shape
    tolerance = {"PCM_16": 1e-4, "PCM_24": 1e-6, "FLOAT": 0, "PCM_U8": 1e-2}.get(subtype)
    if tolerance is None:  # lossy
        assert np.corrcoef(expected, TONE)[0, 1] > 0.99
    else:
        np.testing.assert_allclose(expected, TONE, atol=tolerance)


def test_recordings_of_real_people_are_read():
    folder = Path(__file__).parents[1] / "fixtures" / "speech"
    rows = [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]
    assert {row["audio"] for row in rows} == {path.name for path in folder.glob("*.flac")}
    for row in rows:
        waveform = load_audio(folder / row["audio"])
        assert len(waveform) / 16_000 == pytest.approx(row["seconds"], abs=0.01)
        assert 0.05 < np.abs(waveform).max() <= 1


def test_plain_samples_and_pairs_with_a_rate():
    for source in (
        {"array": TONE, "sampling_rate": 16_000},
        {"array": TONE, "sampling_rate": 16_000, "path": "clip.wav"},
        {"raw": TONE, "sampling_rate": 16_000},
        {"array": TONE.tolist(), "sampling_rate": 16_000.0},
        (16_000, TONE),
        (torch.from_numpy(TONE), 16_000),
        # as datasets and data loaders hand over a rate
        {"array": torch.from_numpy(TONE), "sampling_rate": torch.tensor(16_000)},
        {"array": TONE, "sampling_rate": np.array(16_000)},
        {"array": TONE, "sampling_rate": torch.tensor([16_000])},
        (np.array(16_000), TONE),
        (torch.from_numpy(TONE), torch.tensor(16_000)),
    ):
        np.testing.assert_array_equal(load_audio(source), TONE)
    for samples in (
        TONE,
        TONE.tolist(),
        torch.tensor(TONE, requires_grad=True),
        TONE.astype(np.float64),
        TONE.astype(">f4"),
        TONE.astype(">f8"),
    ):
        np.testing.assert_array_equal(load_audio(samples, sampling_rate=16_000), TONE)
        np.testing.assert_array_equal(load_audio(samples, sampling_rate=torch.tensor(16_000)), TONE)
    half = torch.from_numpy(TONE).bfloat16()
    np.testing.assert_array_equal(load_audio(half, sampling_rate=16_000), half.float().numpy())


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32])
@pytest.mark.parametrize("order", ["<", ">"])
def test_integers_are_at_full_scale(dtype, order):
    scale = -float(np.iinfo(dtype).min)
    integers = np.round(TONE * (scale - 1)).astype(dtype)
    expected = (integers / scale).astype(np.float32)
    in_order = integers.astype(integers.dtype.newbyteorder(order))
    np.testing.assert_array_equal(load_audio(in_order, sampling_rate=16_000), expected)
    np.testing.assert_array_equal(load_audio(torch.from_numpy(integers), sampling_rate=16_000), expected)


def test_unsigned_bytes_have_silence_at_128():
    samples = np.array([0, 64, 128, 192, 255] * 4, dtype=np.uint8)
    np.testing.assert_array_equal(
        load_audio(samples, sampling_rate=16_000)[:5], np.array([-1, -0.5, 0, 0.5, 127 / 128], dtype=np.float32)
    )


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000])
def test_other_rates_are_resampled(rate):
    resampled = load_audio(tone(2.0, sampling_rate=rate), sampling_rate=rate)
    expected = tone(2.0)
    assert resampled.shape == expected.shape
    middle = slice(1600, -1600)
    assert np.corrcoef(resampled[middle], expected[middle])[0, 1] > 0.999
    np.testing.assert_array_equal(load_audio(encode(tone(2.0, sampling_rate=rate), rate, "WAV", "FLOAT")), resampled)


def test_channels_are_averaged_whichever_axis_they_are_on():
    left, right = tone(0.5, hertz=300), tone(0.5, hertz=500)
    expected = (left + right) / 2
    stereo = np.stack([left, right])
    for source in (stereo, stereo.T, torch.from_numpy(stereo), np.ascontiguousarray(stereo.T)):
        assert_equal_but_for_rounding(load_audio(source, sampling_rate=16_000), expected, terms=2)
    assert_equal_but_for_rounding(load_audio(encode(stereo.T, subtype="FLOAT")), expected, terms=2)
    np.testing.assert_array_equal(load_audio(left[None], sampling_rate=16_000), left)
    np.testing.assert_array_equal(load_audio(left[:, None], sampling_rate=16_000), left)


@pytest.mark.parametrize("shape", [(4, 4), (20, 30), (2, 3, 400), ()])
def test_shapes_in_which_channels_cannot_be_told_are_refused(shape):
    with pytest.raises(AudioLoadingError, match="channels and time cannot be told apart"):
        load_audio(np.full(shape, 0.1), sampling_rate=16_000)


@pytest.mark.parametrize(
    ("source", "sampling_rate", "message"),
    [
        (TONE, None, r"sampling rate of the float32 array of shape \(24000,\) is not known. Pass `sampling_rate=`"),
        ({"array": TONE}, None, "sampling rate of the audio dict .* is not known"),
        (TONE, 16, r"between 1000 and 768000 Hz, got 16. If it is in kHz, pass 16000"),
        (TONE, 0, "between 1000 and 768000 Hz, got 0"),
        (TONE, 16_000.5, "whole number of hertz, got 16000.5"),
        (TONE, True, "whole number of hertz, got True"),
        (TONE, "16000", "whole number of hertz, got '16000'"),
        (
            {"array": TONE, "sampling_rate": 44_100},
            16_000,
            "states a sampling rate of 44100 Hz, but `sampling_rate=16000`",
        ),
        (encode(TONE, 8_000), 16_000, "states a sampling rate of 8000 Hz, but `sampling_rate=16000`"),
        ({"bytes": encode(TONE, 8_000), "sampling_rate": 16_000}, None, "8000 Hz, but its dict says"),
        ({"array": TONE, "sample_rate": 16_000}, None, r"unknown keys \['sample_rate'\]"),
        ({"path": None, "bytes": None}, None, "holds no audio"),
        (np.zeros(0, dtype=np.float32), 16_000, "is empty: it has 0 samples"),
        ([], 16_000, "is empty: it has 0 samples"),
        (np.zeros((2, 0)), 16_000, "is empty: it has 0 samples"),
        (b"", None, "is empty: it has 0 bytes"),
        (encode(np.zeros(0)), None, "is empty: it has a header of 16000 Hz and 0 samples"),
        (np.array([0.1, np.nan, np.inf]), 16_000, "2 NaN or infinite values among its 3 samples"),
        (TONE * 32768, 16_000, r"float samples up to .*, but float audio lies in \[-1, 1\].*divide by 32768"),
        ((TONE * 32767).astype(np.int64), 16_000, "type int64, whose scale is not known"),
        (TONE > 0, 16_000, "type bool, whose scale is not known"),
        (TONE.astype(np.complex64), 16_000, "type complex64, whose scale is not known"),
        (np.array([1e300, 0.1]), 16_000, "1 NaN or infinite values among its 2 samples"),
        (np.stack([TONE * 9000, TONE * -9000]), 16_000, r"float audio lies in \[-1, 1\]"),  # silence once averaged
        (np.ma.masked_array(TONE, TONE > 0), 16_000, r"is a MaskedArray.*`.filled\(0\)` or `.compressed\(\)`"),
        (torch.from_numpy(TONE).to_sparse(), 16_000, "does not form an array"),
        (torch.empty(100, device="meta"), 16_000, "does not form an array"),
        (
            torch.nested.nested_tensor([torch.zeros(3), torch.zeros(4)], layout=torch.jagged),
            16_000,
            "the nested tensor does not form",
        ),
        (TONE, torch.tensor(16_000, device="meta"), "whole number of hertz, got a Tensor"),
        ([0.1, None, 0.3], 16_000, "type object, whose scale is not known"),
        (TONE, np.array([16_000, 16_000]), "whole number of hertz, got a ndarray"),
        (TONE, torch.tensor(True), "whole number of hertz, got a Tensor"),
        (TONE, 10**400, "between 1000 and 768000 Hz, got 10000"),
        (TONE, float("nan"), "whole number of hertz, got nan"),
        ([[0.1, 0.2], [0.3]], 16_000, "lists of unequal length"),
        ("no/such/clip.wav", None, "There is no audio file 'no/such/clip.wav'"),
        (".", None, "is a folder, not an audio file"),
        ("clip\0.wav", None, "cannot be read"),
        (b"hello, this is not audio" * 100, None, r"is not an audio file that can be decoded \(2400 bytes\)"),
        (b"<!DOCTYPE html><html>sign in</html>", None, "is a web page"),
        ("data:audio/wav;base64", None, "no comma"),
        ("A" * 100, None, r"the text of 100 characters \('AAAA.*\) is not an audio file"),
        ("data:audio/wav;base64,####", None, "not valid base64"),
        (io.StringIO("text"), None, "open the file in binary mode"),
        (42, None, "Audio of type int is not supported"),
        (None, None, "Audio of type NoneType is not supported"),
    ],
)
def test_what_cannot_be_heard_is_an_error_that_says_why(source, sampling_rate, message):
    with pytest.raises(AudioLoadingError, match=message):
        load_audio(source, sampling_rate=sampling_rate)


@pytest.mark.filterwarnings("ignore:the matrix subclass")
def test_a_matrix_is_refused():
    with pytest.raises(AudioLoadingError, match=r"is a matrix.*`np.asarray`"):
        load_audio(np.asmatrix(TONE), sampling_rate=16_000)


def test_limits_have_names():
    minute = np.tile(TONE, 40)
    with pytest.raises(AudioLoadingError, match=r"is longer than 59 s .*pass a larger `max_seconds`"):
        load_audio(minute, 16_000, max_seconds=59)
    assert len(load_audio(minute, 16_000, max_seconds=60)) == len(minute)
    for name in ("max_seconds", "max_bytes", "timeout_seconds"):
        for value in (0, -1, float("nan"), float("inf"), "1", True, [1]):
            with pytest.raises(AudioLoadingError, match=f"`{name}` must be"):
                load_audio(TONE, 16_000, **{name: value})


@pytest.mark.fault("audio")
@pytest.mark.parametrize("stated", [True, False])
def test_a_small_file_of_many_hours_is_refused_before_it_is_decoded(stated):
    buffer = io.BytesIO()
    with soundfile.SoundFile(buffer, "w", 8_000, 1, "PCM_16", format="FLAC") as file:
        for _ in range(4):
            file.write(np.zeros(8_000 * 3_600, dtype=np.int16))
    data = bytearray(buffer.getvalue())
    assert len(data) < 10**6
    if not stated:  # its header
        data[21] &= 0xF0
        data[22:26] = bytes(4)
    start = time.process_time()
    with pytest.raises(AudioLoadingError, match="is longer than 10800 s"):
        load_audio(bytes(data))
    assert time.process_time() - start < 5.0


def test_an_ogg_cut_between_pages_is_used_with_a_warning():
    data = encode(np.random.default_rng(0).normal(scale=0.1, size=160_000), format="OGG", subtype="VORBIS")
    with pytest.warns(UserWarning, match="no end-of-stream mark"):
        assert 0 < len(load_audio(data[: data.rindex(b"OggS")])) < 160_000


@pytest.mark.filterwarnings("error")
def test_silence_is_accepted_with_a_warning_and_quiet_speech_without_one():
    with pytest.warns(SilentAudioWarning, match=r"is digital silence \(1.00 s without a sound\)"):
        silence = load_audio(np.zeros(16_000, dtype=np.int16), sampling_rate=16_000)
    np.testing.assert_array_equal(silence, np.zeros(16_000, dtype=np.float32))
    load_audio(TONE * 1e-3, sampling_rate=16_000)


def test_audio_decoders_of_datasets_are_taken(monkeypatch):
    class AudioDecoder:
        def get_all_samples(self):
            data = torch.stack([torch.from_numpy(tone(1.0, sampling_rate=8_000))] * 2)
            return types.SimpleNamespace(data=data, sample_rate=8_000)

    module = types.ModuleType("torchcodec.decoders")
    module.AudioDecoder = AudioDecoder
    monkeypatch.setitem(sys.modules, "torchcodec.decoders", module)
    expected = load_audio(tone(1.0, sampling_rate=8_000), sampling_rate=8_000)
    assert_equal_but_for_rounding(load_audio(AudioDecoder()), expected, terms=2)


def test_undecoded_rows_of_datasets_are_taken(tmp_path):
    datasets = pytest.importorskip("datasets")
    path = tmp_path / "clip.flac"
    path.write_bytes(encode(TONE, format="FLAC"))
    rows = datasets.Dataset.from_dict({"audio": [str(path)]}).cast_column("audio", datasets.Audio(decode=False))
    np.testing.assert_array_equal(load_audio(rows[0]["audio"]), load_audio(path))
