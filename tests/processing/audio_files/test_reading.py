import io
import os
import socket
import threading

import numpy as np
import pytest

from tests.support.audio_files import encode, speech
from transformers_aura import AudioLoadingError, load_audio


WAV = encode(speech(1.0))


class _Unseekable(io.RawIOBase):
    """What a request's body or a decompressor looks like: it can only be read on."""

    def __init__(self, data):
        self._data = io.BytesIO(data)

    def readable(self):
        return True

    def readinto(self, buffer):
        return self._data.readinto(buffer)


def test_an_open_file_is_read_from_its_start_wherever_it_stands(tmp_path):
    (tmp_path / "clip.wav").write_bytes(WAV)
    written = io.BytesIO()
    written.write(WAV)
    with open(tmp_path / "clip.wav", "rb") as file:
        for source in (written, file):
            for position in (len(WAV), 0, 4, len(WAV)):  # at its end, at its start, behind a look at its first bytes
                source.seek(position)
                np.testing.assert_array_equal(load_audio(source), load_audio(WAV))
            np.testing.assert_array_equal(load_audio(source), load_audio(WAV))
    np.testing.assert_array_equal(load_audio(_Unseekable(WAV)), load_audio(WAV))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_a_pipe_is_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=[WAV])
    writer.start()
    np.testing.assert_array_equal(load_audio(tmp_path / "pipe"), load_audio(WAV))
    writer.join()


class _Closed(io.BytesIO):
    def __init__(self, data):
        super().__init__(data)
        self.close()


class _Failing:
    def read(self, size=-1):
        raise OSError("the card was pulled out")


@pytest.mark.fault("audio")
@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("/dev/zero", "'/dev/zero' is a device or a socket, not an audio file"),
        ("/dev/null", "is a device or a socket"),
        ("/proc", "'/proc' is a folder, not an audio file"),
        ("~nobody-of-that-name/clip.wav", "'~nobody-of-that-name/clip.wav' cannot be read"),
        ("clip-\ud800.wav", "cannot be read"),
        ("", "The path of the audio is empty"),
        ("s3://bucket/clip.wav", "is an address of a kind that is not read"),
        (_Closed(WAV), "cannot be read: I/O operation on closed file"),
        (_Failing(), "cannot be read: the card was pulled out"),
        (io.StringIO("text"), "open the file in binary mode"),
        ("data:," + "%00" * (2**20 + 1), "is quoted character by character"),
        ({"path": {"path": "clip.wav"}}, '"path" in the audio dict .* must be a file or its bytes'),
    ],
)
def test_what_cannot_be_read_is_told(source, message):
    with pytest.raises(AudioLoadingError, match=message):
        load_audio(source)


@pytest.mark.fault("audio")
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_nothing_is_waited_for_without_end(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(AudioLoadingError, match=r"Nothing was written into the pipe .* for 0.1 s"):
        load_audio(tmp_path / "pipe", timeout_seconds=0.1)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        with pytest.raises(AudioLoadingError, match="is a device or a socket"):
            load_audio(tmp_path / "socket")


@pytest.mark.fault("audio")
def test_more_than_the_limit_is_refused_before_it_is_held(tmp_path):
    with open(tmp_path / "sparse.wav", "wb") as file:
        file.truncate(256 * 1024**3)
    with pytest.raises(AudioLoadingError, match=r"has more than 2147483648 bytes.*pass a larger `max_bytes`"):
        load_audio(tmp_path / "sparse.wav")
    with open("/dev/zero", "rb") as endless, pytest.raises(AudioLoadingError, match="has more than 1000000 bytes"):
        load_audio(endless, max_bytes=1_000_000)
    (tmp_path / "clip.wav").write_bytes(WAV)
    with pytest.raises(AudioLoadingError, match="has more than 1000 bytes"):
        load_audio(tmp_path / "clip.wav", max_bytes=1000)
