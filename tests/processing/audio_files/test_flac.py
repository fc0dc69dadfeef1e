import numpy as np
import pytest

from tests.support.audio_files import encode, speech
from transformers_aura import AudioLoadingError, load_audio
from transformers_aura.processing.audio_files import flac


WHOLE = encode(speech(), 16_000, "FLAC")
FRAMES = [
    match.start()
    for match in flac._FRAME_START.finditer(WHOLE)
    if flac._parse_frame(WHOLE[match.start() : match.start() + 16], 16_000)
]


def stating(num_samples, data=WHOLE):
    info = int.from_bytes(data[18:26], "big") >> 36 << 36 | num_samples
    return data[:18] + info.to_bytes(8, "big") + data[26:]


def test_a_file_that_was_written_into_a_pipe_is_read_whole():
    piped = stating(0)[:26] + bytes(16) + WHOLE[42:]  # without a checksum either, as ffmpeg writes it
    np.testing.assert_array_equal(load_audio(piped), load_audio(WHOLE))


@pytest.mark.parametrize(("subtype", "sampling_rate"), [("PCM_S8", 8_000), ("PCM_24", 44_100), ("PCM_16", 12_345)])
@pytest.mark.parametrize("channels", [1, 2, 8])
def test_frames_of_every_form_are_counted(subtype, sampling_rate, channels):
    samples = np.random.default_rng(0).normal(scale=0.1, size=(20_001, channels))
    data = encode(samples, sampling_rate, "FLAC", subtype)
    assert len(load_audio(stating(0, data), target_sampling_rate=sampling_rate)) == 20_001


@pytest.mark.fault("audio")
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (stating(32_000), "2.00 s are stated, and 4.00 s are there"),
        (stating(80_000), "4.00 of 5.00 s are there"),
        (stating(2**36 - 1), "4.00 of 4294967.30 s are there"),
        (WHOLE[: FRAMES[5]] + WHOLE[FRAMES[6] :], "frame 6 stands where frame 5 belongs"),
        (WHOLE[: FRAMES[6]] + WHOLE[FRAMES[5] :], "frame 5 stands where frame 6 belongs"),
        (stating(0)[: FRAMES[6] + 100] + WHOLE[FRAMES[7] :], "damaged or truncated"),
        (stating(0)[:-100], "damaged or truncated"),
        (WHOLE[:18] + (8_000 << 44 | int.from_bytes(WHOLE[18:26], "big") & (2**44 - 1)).to_bytes(8, "big") + WHOLE[26:],
         "its header states 1 channels at 8000 Hz, and a frame 1 at 16000 Hz"),
        (WHOLE[: FRAMES[0]] + b"\xff\xf8" * 200_000, "there is no frame"),
        (WHOLE[: FRAMES[1]] + b"\xff\xf8" * 200_000, "full of what looks like headers"),
    ],
)  # fmt: skip
def test_frames_that_are_missing_or_damaged_are_told(data, message):
    with pytest.raises(AudioLoadingError, match=message):
        load_audio(data)


def test_joined_files_are_read_one_after_the_other():
    twice = load_audio(WHOLE + stating(0))
    np.testing.assert_array_equal(twice, np.tile(load_audio(WHOLE), 2))
