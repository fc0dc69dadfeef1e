import numpy as np
import pytest

from tests.support.audio_files import audio_file, encode, speech
from transformers_aura import AudioLoadingError, load_audio


WAV, STEREO = encode(speech()), encode(np.stack([speech(), speech()], axis=1))
WHOLE = {kind: audio_file(kind) for kind in ("RF64", "W64", "aiff", "au", "caf", "NIST sphere")}


def with_fields(data, *fields):
    """Numbers of a file changed: where, as which bytes."""
    changed = bytearray(data)
    for position, value in fields:
        changed[position : position + len(value)] = value
    return bytes(changed)


def at(data, name, offset=4):
    return data.index(name) + offset


ZERO, FULL = bytes(4), b"\xff" * 4
RF64, W64, AIFF, AU, CAF = (WHOLE[kind] for kind in ("RF64", "W64", "aiff", "au", "caf"))


@pytest.mark.parametrize(
    "data",
    [
        with_fields(WAV, (4, ZERO), (40, ZERO)),  # a recorder that was killed
        with_fields(WAV, (4, (36).to_bytes(4, "little")), (40, ZERO)),  # the same, of Python's `wave`
        with_fields(WAV, (4, FULL), (40, FULL)),  # ffmpeg, into a pipe
        with_fields(WAV, (4, b"\x24\xf0\xff\x7f"), (40, b"\0\xf0\xff\x7f")),  # SoX, into a pipe
        with_fields(RF64, (at(RF64, b"ds64", 8), bytes(24))),
        with_fields(W64, (16, bytes(8)), (at(W64, b"data", 16), bytes(8))),
        with_fields(AIFF, (4, ZERO), (at(AIFF, b"SSND"), ZERO), (at(AIFF, b"COMM", 10), ZERO)),
        with_fields(AU, (8, FULL)),
        with_fields(AU, (8, ZERO)),
        with_fields(CAF, (at(CAF, b"data"), FULL * 2)),
    ],
)
def test_a_file_whose_writer_never_knew_the_length_is_read_whole(data):
    np.testing.assert_array_equal(load_audio(data), load_audio(WAV))


@pytest.mark.parametrize(
    "data",
    [
        WAV + b"LIST\x0a\0\0\0INFOabcdef",
        WAV + b"TAG" + bytes(125),
        WAV + b"ID3\x04\0\0\0\0\x01\0" + b"x" * 128,
        WAV + b"\r\n" + bytes(4096),
        WHOLE["aiff"] + b"NAME\0\0\0\x04name",
        encode(speech(), subtype="PCM_U8")[:40] + (63_999).to_bytes(4, "little")
        + encode(speech(), subtype="PCM_U8")[44:-1] + b"LIST\x04\0\0\0INFO",  # its writer forgot to pad the sound
    ],
)  # fmt: skip
def test_what_may_follow_the_sound_does(data):
    assert len(load_audio(data)) in (63_999, 64_000)


@pytest.mark.fault("audio")
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (with_fields(WAV, (40, (64_000).to_bytes(4, "little"))), "64000 bytes of sound are stated, and 64000 that belong"),
        (with_fields(AU, (8, (64_000).to_bytes(4, "big"))), "64000 bytes of sound are stated, and 64000 that belong"),
        (WHOLE["NIST sphere"].replace(b"sample_count -i 64000", b"sample_count -i 32000"), "64000 bytes of sound are stated"),
        (WHOLE["NIST sphere"].replace(b"sample_count", b"sample_kount"), "lacks `sample_count`"),
        (WAV + WAV, "a second recording follows the first, from byte 128052 on"),
        (WHOLE["RF64"] + WAV, "a second recording"),
        (WAV + WHOLE["au"], "that belong to nothing follow"),
        (with_fields(WAV, (24, (8_000).to_bytes(4, "little"))), "1 channels of 16 bits at 8000 Hz .* 32000 bytes a second"),
        (with_fields(STEREO, (22, b"\x01")), "header contradicts itself"),
        (with_fields(WAV, (34, b"\x08")), "header contradicts itself"),
        (with_fields(AIFF, (at(AIFF, b"COMM", 8), b"\0\x02")), "64000 x 2 samples of 16 bits, and of 128000 bytes"),
        (with_fields(WAV, (36, b"tada")), "it ends before its sound"),
        (with_fields(WAV, (12, b"tada")), "no chunk 'fmt'"),
        (with_fields(WAV, (12, ZERO)), "belong to no chunk"),
        (WAV[:12] + b"LIST\0\0\0\0" * 200_000 + WAV[12:], "belong to no chunk"),
        (AU[:20], "ends before its sound"),
    ],
)  # fmt: skip
def test_sizes_that_cannot_be_right_are_told(data, message):
    with pytest.raises(AudioLoadingError, match=message):
        load_audio(data)


def test_a_file_without_a_sound_is_empty():
    with pytest.raises(AudioLoadingError, match="has a header of 16000 Hz and 0 samples"):
        load_audio(encode(np.zeros(0)))
