"""One function that turns whatever holds speech into the waveform that the student takes: float32, mono, 16 kHz."""

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .audio_errors import AudioLoadingError, SilentAudioWarning
from .audio_limits import MAX_SECONDS, TIMEOUT_SECONDS, AudioLimits, check_sampling_rate
from .audio_samples import peak, to_mono_float32
from .audio_source import AudioSource, RawAudio, describe_audio, read_source


_SILENCE_PEAK = 1 / 32768  # one step of 16-bit audio


def load_audio(
    source: AudioSource,
    sampling_rate: int | None = None,
    target_sampling_rate: int = 16_000,
    timeout_seconds: float = TIMEOUT_SECONDS,
    *,
    max_seconds: float = MAX_SECONDS,
    max_bytes: int | None = None,
) -> NDArray[np.float32]:
    """Read, decode, mix down and resample speech.

    Args:
        source: one of

            - a path (`str` or `os.PathLike`) of an audio file or a named pipe: wav, flac, mp3, ogg (Vorbis, Opus), aiff, au,
              caf, NIST sphere; with the optional extra `formats` (PyAV) also m4a, mp4, webm, matroska, aac and amr;
            - an `http(s)://` URL (the only case that touches the network), a `data:` URL, or base64 text of a file;
            - `bytes` of a file, or a file opened in binary mode (read from its start, wherever it stands);
            - `{"array": samples, "sampling_rate": hertz}`, `{"path": ...}` or `{"bytes": ...}`, as `datasets` yields them
              decoded or not, or its `AudioDecoder`;
            - `(hertz, samples)` or `(samples, hertz)`, as gradio, librosa, torchaudio and soundfile return them;
            - plain samples: a numpy array, a torch tensor or a list of floats, together with `sampling_rate`.

            Samples are floats in [-1, 1] or int8/int16/int32/uint8 at their full scale, of shape `(n_samples,)`,
            `(channels, n_samples)` or `(n_samples, channels)`: the axis of at most 8 entries is the channels, and
            the channels are averaged.
        sampling_rate (`int`, *optional*): rate of `source` in hertz. Plain samples need it; where `source` states its own
            rate it may be left out, and must agree if given.
        target_sampling_rate (`int`, defaults to 16000): rate of the result in hertz.
        timeout_seconds (`float`, defaults to 60): how long a download may take in all, and a pipe stay silent.
        max_seconds (`float`, defaults to 3 hours): longest audio that is taken.
        max_bytes (`int`, *optional*): largest file that is read; by default 2 GiB from a disk, and 256 MiB through a URL, a pipe
            or an open file.

    Returns:
        `np.ndarray` of shape `(n_samples,)`, float32, mono, at `target_sampling_rate`.

    Example:

    ```python
    >>> load_audio("question.wav").shape  # three seconds
    (48000,)
    ```

    Raises:
        AudioLoadingError: a missing, empty, truncated, damaged or undecodable file, one beyond the limits, an unreachable URL,
            samples without a rate, with a contradicted or impossible rate, of a wrong shape, type or scale, or with NaN or
            infinity in them.

    Digital silence is accepted with a [`SilentAudioWarning`].
    """
    description = describe_audio(source)
    limits = AudioLimits(max_seconds, max_bytes, timeout_seconds)
    target_sampling_rate = check_sampling_rate(target_sampling_rate, "`target_sampling_rate`")
    if sampling_rate is not None:
        sampling_rate = check_sampling_rate(sampling_rate, "`sampling_rate`")
    audio = read_source(source, description, limits)
    rate = _agreed_rate(audio, sampling_rate, description)
    waveform = _Waveform(rate, target_sampling_rate)
    for block in audio.blocks:
        waveform.add(to_mono_float32(block, description))
        limits.check_length(waveform.num_samples, rate, description)
    if waveform.num_samples == 0:
        raise AudioLoadingError(f"{description} is empty: it has a header of {rate} Hz and 0 samples.")
    if audio.caution:
        warnings.warn(f"{description} {audio.caution}. What is there is used.", stacklevel=2)
    if waveform.peak <= _SILENCE_PEAK:
        warnings.warn(
            f"{description} is digital silence ({waveform.num_samples / rate:.2f} s without a sound): check the "
            "microphone or the file. It is passed on as it is.",
            SilentAudioWarning,
            stacklevel=2,
        )
    result = waveform.finish()
    if len(result) == 0:
        raise AudioLoadingError(
            f"{description} is too short: its {waveform.num_samples} samples at {rate} Hz are none at "
            f"{target_sampling_rate} Hz."
        )
    return result


def _agreed_rate(audio: RawAudio, sampling_rate: int | None, description: str) -> int:
    if audio.sampling_rate is None:
        if sampling_rate is None:
            raise AudioLoadingError(
                f"The sampling rate of {description} is not known. Pass `sampling_rate=` (in hertz), or "
                '{"array": ..., "sampling_rate": ...} in place of the plain samples.'
            )
        return sampling_rate
    if sampling_rate is not None and sampling_rate != audio.sampling_rate:
        raise AudioLoadingError(
            f"{description} states a sampling rate of {audio.sampling_rate} Hz, but `sampling_rate={sampling_rate}` was passed. "
            "Leave `sampling_rate` out (the audio carries its own, and is resampled as needed), or correct it."
        )
    return audio.sampling_rate


class _Waveform:
    """Blocks of samples, resampled as they come in: what is kept is at the rate of the result."""

    def __init__(self, rate: int, target_rate: int) -> None:
        self.num_samples = 0  # before resampling
        self.peak = 0.0
        self._parts: list[NDArray[np.float32]] = []
        self._resampler: Any = None
        if rate != target_rate:
            import soxr

            self._resampler = soxr.ResampleStream(rate, target_rate, 1, dtype="float32", quality="HQ")

    def add(self, block: NDArray[np.float32]) -> None:
        self.num_samples += len(block)
        self.peak = max(self.peak, peak(block))
        self._parts.append(block if self._resampler is None else self._resampler.resample_chunk(block))

    def finish(self) -> NDArray[np.float32]:
        if self._resampler is not None:
            self._parts.append(self._resampler.resample_chunk(np.zeros(0, dtype=np.float32), last=True))
        if len(self._parts) == 1:
            return self._parts[0]
        result = np.empty(sum(map(len, self._parts)), dtype=np.float32)
        end = len(result)
        while self._parts:  # let go of one by one: hours are not held twice
            part = self._parts.pop()
            result[end - len(part) : end] = part
            end -= len(part)
        return result
