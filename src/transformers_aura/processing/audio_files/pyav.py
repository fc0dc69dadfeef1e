"""Decoding by ffmpeg, where PyAV is installed (the optional extra `formats`)."""

import functools
import io
import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from ..audio_errors import AudioLoadingError
from ..audio_limits import AudioLimits, check_sampling_rate
from ..audio_samples import check_amplitude
from .libsndfile import check_channels
from .results import Block, UnsupportedFileError


if TYPE_CHECKING:
    import av

_LENGTH_TOLERANCE_SECONDS = 0.1  # of what encoders add at both ends, and players leave out


def open_with_pyav(data: bytes, format: str, description: str, limits: AudioLimits) -> tuple[int, Iterator[Block]]:
    """Sampling rate in hertz, and blocks of mono samples, of the first or default audio stream.

    Args:
        format: ffmpeg's name of the container. It is never left to ffmpeg to find out: some of its formats open other files.

    Raises:
        ImportError: PyAV is not installed.
        UnsupportedFileError: ffmpeg does not know the encoding, or there is no sound.
        AudioLoadingError: a rate, a number of channels or a length beyond the limits; damage.
    """
    import av

    try:
        container = av.open(io.BytesIO(data), "r", format=format, metadata_errors="ignore")
        stream = container.streams.best("audio")
    except (av.error.FFmpegError, ValueError) as error:
        raise UnsupportedFileError(str(error)) from error
    if not isinstance(stream, av.AudioStream) or stream.codec_context is None:
        raise UnsupportedFileError("it holds no audio, or audio in an unknown format")
    stream.codec_context.options = {"err_detect": "explode"}  # damage is an error, not something to conceal
    frames = _frames(container, stream, description, limits)
    first = next(frames, None)
    if first is None:
        raise AudioLoadingError(f"{description} is empty: none of its sound can be decoded.")
    return first.sample_rate, map(functools.partial(_mono, description), itertools.chain([first], frames))


def _frames(
    container: "av.container.InputContainer", stream: "av.AudioStream", description: str, limits: AudioLimits
) -> Iterator["av.AudioFrame"]:
    """Frames of float samples, all of one rate and number of channels."""
    import av

    to_float = av.AudioResampler(format="fltp")
    num_samples, rate = 0, 0
    with container:
        try:
            for packet in container.demux(stream):
                if packet.is_corrupt:
                    raise ValueError("a part of it is cut off")
                for frame in packet.decode():
                    rate = rate or check_sampling_rate(frame.sample_rate, f"The sampling rate in {description}")
                    channels = frame.layout.nb_channels
                    check_channels(channels, description)
                    num_samples += frame.samples
                    limits.check_length(num_samples, rate, description, channels)
                    yield from to_float.resample(frame)  # raises where rate or channels change
        except AudioLoadingError:
            raise
        except (av.error.FFmpegError, ValueError) as error:
            raise AudioLoadingError(
                f"{description} is damaged or truncated behind {num_samples / max(rate, 1):.2f} s: {error}."
            ) from error
        if container.format.name == "mp4" and stream.duration is not None and stream.time_base is not None and rate:
            stated = float(stream.duration * stream.time_base)
            if num_samples / rate < stated - _LENGTH_TOLERANCE_SECONDS:
                raise AudioLoadingError(
                    f"{description} is truncated: {num_samples / rate:.2f} of {stated:.2f} s are there. Copy or download "
                    "the file again."
                )


def _mono(description: str, frame: "av.AudioFrame") -> Block:
    samples = np.asarray(frame.to_ndarray(), dtype=np.float32)
    check_amplitude(samples, description)
    return samples.mean(axis=0, dtype=np.float32)
