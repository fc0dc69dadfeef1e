import numpy as np
import pytest

from tests.support.audio_files import encode, speech
from transformers_aura import AudioLoadingError, load_audio
from transformers_aura.processing.audio_files import ogg


def pages(data):
    return [data[page.start : page.end] for page in ogg._pages(data)]


def with_field(page, position, value, size=4):
    """The page with another number in its header, and the checksum that belongs to it."""
    page = page[:position] + value.to_bytes(size, "little") + page[position + size :]
    unsigned = page[:22] + bytes(4) + page[26:]
    return unsigned[:22] + ogg._checksum(unsigned).to_bytes(4, "little") + unsigned[26:]


VORBIS, OPUS = (pages(encode(speech(12.0), 16_000, "OGG", subtype)) for subtype in ("VORBIS", "OPUS"))


@pytest.mark.fault("audio")
@pytest.mark.parametrize("whole", [VORBIS, OPUS], ids=["vorbis", "opus"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p[:4] + p[5:], "page 5 stands where page 4 belongs"),
        (lambda p: [*p[:5], *p[4:]], "page 4 stands where page 5 belongs"),
        (
            lambda p: [*p[:4], p[4][:-1] + bytes([p[4][-1] ^ 1]), *p[5:]],
            "checksum of its Ogg page at byte .* is wrong",
        ),
        (lambda p: [*p[:4], b"junk", *p[4:]], "no Ogg page at byte"),
        (lambda p: [*p[:4], p[4][:-10]], "its last Ogg page is cut off"),
        (lambda p: [*p[:4], p[4][:20]], "its last Ogg page is cut off"),
        (lambda p: p[1:], "its first page is missing"),
        (lambda p: [p[0], with_field(p[0], 14, 77), *p[1:]], "several streams in one"),
        (lambda p: [*p, with_field(p[2], 14, 77)], "page .* stands where"),
    ],
)
def test_pages_that_are_missing_or_damaged_are_told(whole, change, message):
    with pytest.raises(AudioLoadingError, match=message):
        load_audio(b"".join(change(whole)))


@pytest.mark.parametrize("whole", [VORBIS, OPUS], ids=["vorbis", "opus"])
def test_joined_recordings_are_read_one_after_the_other(whole):
    data = b"".join(whole)
    np.testing.assert_array_equal(load_audio(data + data), np.tile(load_audio(data), 2))
    with pytest.warns(UserWarning, match="no end-of-stream mark"):
        assert len(load_audio(b"".join(whole[:-1]) + data)) > len(load_audio(data))


@pytest.mark.parametrize("whole", [VORBIS, OPUS], ids=["vorbis", "opus"])
def test_a_recording_of_a_live_stream_is_read(whole):
    headers, middle = whole[:2], whole[len(whole) // 2 : -1]
    live = [with_field(page, 18, number) for number, page in enumerate([*headers, *middle])]
    with pytest.warns(UserWarning, match="no end-of-stream mark: it may be truncated"):
        samples = load_audio(b"".join(live))
    assert len(samples) == pytest.approx(6.0 * 16_000, rel=0.25)


def test_padding_behind_the_end_is_stepped_over():
    data = b"".join(OPUS)
    np.testing.assert_array_equal(load_audio(data + bytes(512)), load_audio(data))
