"""Decoding by libsndfile."""

import io
from collections.abc import Iterator

import numpy as np
import soundfile

from ..audio_errors import AudioLoadingError
from ..audio_limits import MAX_CHANNELS, AudioLimits, check_sampling_rate
from ..audio_samples import check_amplitude
from .results import Block, UnsupportedFileError


_BLOCK_FRAMES = 2**17


class _ForwardFile(soundfile.SoundFile):
    """A file that is read from start to end: soundfile seeks after every block else, which some decoders cannot (GSM), and which
    changes the samples of others (MP3)."""

    def seekable(self) -> bool:
        return False


def open_with_libsndfile(data: bytes, description: str, limits: AudioLimits) -> tuple[int, Iterator[Block]]:
    """Sampling rate in hertz, and blocks of mono samples.

    Raises:
        UnsupportedFileError: libsndfile does not know the encoding.
        AudioLoadingError: a rate, a number of channels or a length beyond the limits; from the blocks: damage.
    """
    try:
        file = _ForwardFile(io.BytesIO(data))
    except (soundfile.SoundFileError, TypeError) as error:
        raise UnsupportedFileError(_reason(error)) from error
    rate = check_sampling_rate(file.samplerate, f"The sampling rate in {description}")
    check_channels(file.channels, description)
    limits.check_length(file.frames, rate, description, file.channels)
    return rate, _blocks(file, description)


def check_channels(channels: int, description: str) -> None:
    if not 1 <= channels <= MAX_CHANNELS:
        raise AudioLoadingError(
            f"{description} has {channels} channels, but at most {MAX_CHANNELS} are mixed down. Pick some, for instance with "
            "`ffmpeg -i input -ac 1 output.wav`."
        )


def _blocks(file: soundfile.SoundFile, description: str) -> Iterator[Block]:
    num_samples = 0
    with file:
        while True:
            try:
                block = file.read(_BLOCK_FRAMES, dtype="float32", always_2d=True)
            except soundfile.SoundFileError as error:
                raise AudioLoadingError(
                    f"{description} is damaged or truncated behind {num_samples / file.samplerate:.2f} s: {_reason(error)}."
                ) from error
            if len(block) == 0:
                break
            num_samples += len(block)
            check_amplitude(block, description)
            yield block.mean(axis=1, dtype=np.float32)
        if num_samples < file.frames:
            raise AudioLoadingError(
                f"{description} is truncated: {num_samples / file.samplerate:.2f} of {file.frames / file.samplerate:.2f} s "
                "are there. Copy or download the file again."
            )


def _reason(error: Exception) -> str:
    return str(getattr(error, "error_string", error)).removeprefix("Error : ").rstrip(".")
