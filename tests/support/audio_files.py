"""Audio files of every kind that is read, made in memory."""

import io
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray


SPEECH = Path(__file__).parents[1] / "fixtures" / "speech" / "order_04.flac"

BY_LIBSNDFILE = {
    "wav": ("WAV", "PCM_16"),
    "wav, 24 bits": ("WAV", "PCM_24"),
    "wav, float": ("WAV", "FLOAT"),
    "wav, u-law": ("WAV", "ULAW"),
    "wav, GSM": ("WAV", "GSM610"),
    "wav, IMA ADPCM": ("WAV", "IMA_ADPCM"),
    "wav, extensible": ("WAVEX", "PCM_16"),
    "RF64": ("RF64", "PCM_16"),
    "W64": ("W64", "PCM_16"),
    "aiff": ("AIFF", "PCM_16"),
    "aifc": ("AIFF", "ULAW"),
    "au": ("AU", "PCM_16"),
    "caf": ("CAF", "PCM_16"),
    "caf, ALAC": ("CAF", "ALAC_16"),
    "NIST sphere": ("NIST", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "ogg, Vorbis": ("OGG", "VORBIS"),
    "ogg, Opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
}
"""Format and subtype of soundfile by a name."""

BY_PYAV = {
    "m4a": ("ipod", "aac", {}),
    "mp4, fragmented": ("mp4", "aac", {"movflags": "frag_keyframe+empty_moov", "frag_duration": "500000"}),
    "webm": ("webm", "libopus", {}),
    "webm, live": ("webm", "libopus", {"live": "1"}),
    "matroska": ("matroska", "aac", {}),
    "aac": ("adts", "aac", {}),
    "wav, mp3": ("wav", "libmp3lame", {}),
}
"""Container, codec and options of ffmpeg by a name."""

KINDS = (*BY_LIBSNDFILE, *BY_PYAV)


def speech(seconds: float = 4.0, sampling_rate: int = 16_000) -> NDArray[np.float32]:
    """A person's order, over and over."""
    samples, _ = soundfile.read(SPEECH, dtype="float32")
    at_rate = np.repeat(samples, sampling_rate // 16_000)
    return np.resize(at_rate, int(seconds * sampling_rate))


def encode(
    samples: NDArray, sampling_rate: int = 16_000, format: str = "WAV", subtype: str = "PCM_16", **options: str
) -> bytes:
    """A file as libsndfile writes it."""
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, sampling_rate, format=format, subtype=subtype, **options)
    return buffer.getvalue()


def encode_with_pyav(
    samples: NDArray[np.float32], sampling_rate: int, format: str, codec: str, options: dict[str, str]
) -> bytes:
    """A mono file as ffmpeg writes it."""
    import av

    buffer = io.BytesIO()
    with av.open(buffer, "w", format=format, options=options) as container:
        stream = container.add_stream(codec, rate=sampling_rate, layout="mono")
        stream.codec_context.open()
        frame = av.AudioFrame.from_ndarray(samples[None], format="flt", layout="mono")
        frame.sample_rate = sampling_rate
        resampler = av.AudioResampler(
            stream.codec_context.format.name, "mono", sampling_rate, frame_size=stream.codec_context.frame_size
        )
        for part in (*resampler.resample(frame), *resampler.resample(None), None):
            container.mux(stream.encode(part))
    return buffer.getvalue()


def audio_file(kind: str, seconds: float = 4.0) -> bytes:
    """The speech as a file of one of `KINDS`."""
    if kind in BY_LIBSNDFILE:
        return encode(speech(seconds), 16_000, *BY_LIBSNDFILE[kind])
    format, codec, options = BY_PYAV[kind]
    rate = 48_000 if codec == "libopus" else 16_000
    return encode_with_pyav(speech(seconds, rate), rate, format, codec, options)
