"""Recordings in every container that is read, damaged in every way that files are."""

from __future__ import annotations

import base64
import functools
import io
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from hypothesis import strategies as st

from tests.fuzz.campaign import Area, Silent
from tests.fuzz.damage import Damage, damages
from transformers_aura import load_audio


CLIP = Path(__file__).resolve().parents[1] / "fixtures" / "speech" / "order_01.flac"
SOUNDFILE_FORMATS = (
    ("WAV", "PCM_16"), ("WAV", "PCM_24"), ("WAV", "FLOAT"), ("WAV", "ULAW"), ("WAV", "GSM610"), ("WAV", "IMA_ADPCM"),
    ("WAVEX", "PCM_16"), ("RF64", "PCM_16"), ("W64", "PCM_16"), ("AU", "PCM_16"), ("CAF", "PCM_16"), ("CAF", "ALAC_16"), ("NIST", "PCM_16"),
    ("VOC", "PCM_16"), ("PAF", "PCM_16"), ("AIFF", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III"),
)  # fmt: skip
PYAV_FORMATS = (("mp4", "aac"), ("webm", "libopus"), ("adts", "aac"), ("mov", "aac"), ("matroska", "libopus"))
FIELDS = (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x01\0\0\0", b"\0\0\0\x01", b"\xff\xff\xff\x7f", b"\x7f\xff\xff\xff")
WAYS = ("bytes", "path", "file", "file at its end", "dict", "data URL", "base64")
LOSSES = ("cut", "hole")
"""Damage after which a part of the recording is missing: what comes back must not be shorter than the whole."""


@dataclass(frozen=True)
class DamagedFile:
    """A recording in a container, what was done to it, and how it is handed over."""

    container: str
    codec: str
    damages: tuple[Damage, ...]
    chained: bool
    way: str

    def data(self) -> bytes:
        data = recording(self.container, self.codec)
        if self.chained:
            data += data
        for damage in self.damages:
            data = damage.do(data)
        return data


@functools.cache
def recording(container: str, codec: str) -> bytes:
    """A second and a bit of speech at 16 kHz."""
    samples = soundfile.read(CLIP, dtype="float32")[0][4000:24000]
    if container.islower():
        return _by_pyav(samples, container, codec)
    file = io.BytesIO()
    soundfile.write(file, samples, 16_000, format=container, subtype=codec)
    return file.getvalue()


def _by_pyav(samples: np.ndarray, container: str, codec: str) -> bytes:
    import av

    file = io.BytesIO()
    rate = 48_000 if codec == "libopus" else 16_000
    samples = np.repeat(samples, rate // 16_000)
    with av.open(file, "w", format=container) as output:
        stream = output.add_stream(codec, rate=rate, layout="mono")
        for start in range(0, len(samples), 960):
            frame = av.AudioFrame.from_ndarray(samples[None, start : start + 960], format="fltp", layout="mono")
            frame.sample_rate, frame.pts = rate, start
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return file.getvalue()


@functools.cache
def whole_length(container: str, codec: str) -> int:
    return len(load_audio(recording(container, codec)))


@functools.cache
def formats() -> tuple[tuple[str, str], ...]:
    try:
        import av  # noqa: F401
    except ImportError:
        return SOUNDFILE_FORMATS
    return SOUNDFILE_FORMATS + PYAV_FORMATS


def strategy() -> st.SearchStrategy[DamagedFile]:
    kinds = ("cut", "cut", "hole", "twice", "blank", "bit", "bit", "insert", "header", "header")
    damage = damages(kinds, (0.0, 0.001, 0.01, 0.1, 0.5), st.sampled_from(FIELDS) | st.binary(min_size=1, max_size=12))
    return st.builds(
        lambda form, damages, chained, way: DamagedFile(*form, tuple(damages), chained, way),
        st.sampled_from(formats()),
        st.lists(damage, max_size=3),
        st.sampled_from((False, False, False, True)),
        st.sampled_from(WAYS),
    )


def ask(file: DamagedFile) -> None:
    data = file.data()
    with tempfile.TemporaryDirectory() as folder:
        waveform = load_audio(_handed_over(data, file.way, Path(folder)))
    if waveform.dtype != np.float32 or waveform.ndim != 1 or not len(waveform) or not np.isfinite(waveform).all():
        raise Silent(f"a waveform of {waveform.dtype}, shape {waveform.shape}")
    kinds = {damage.kind for damage in file.damages}
    whole = whole_length(file.container, file.codec)
    tolerance = 0.005 * whole if file.container.isupper() and file.codec not in LOSSY else 0.06 * whole
    if kinds <= set(LOSSES) and not file.chained and len(waveform) < whole - tolerance:
        raise Silent(f"{len(waveform)} of {whole} samples after {sorted(kinds)}")
    if (
        file.chained
        and not kinds
        and file.container in ("OGG", "FLAC", "MP3")
        and len(waveform) < 2 * whole - tolerance
    ):
        raise Silent(f"{len(waveform)} of 2 x {whole} samples of a chain")


LOSSY = ("VORBIS", "OPUS", "MPEG_LAYER_III", "GSM610", "IMA_ADPCM")


def _handed_over(data: bytes, way: str, folder: Path) -> Any:
    match way:
        case "path":
            path = folder / "recording.bin"
            path.write_bytes(data)
            return path
        case "file":
            return io.BytesIO(data)
        case "file at its end":
            file = io.BytesIO(data)
            file.seek(0, io.SEEK_END)
            return file
        case "dict":
            return {"bytes": data}
        case "data URL":
            return "data:audio/wav;base64," + base64.b64encode(data).decode()
        case "base64":
            return base64.b64encode(data).decode()
    return data


def names(file: DamagedFile) -> tuple[str, ...]:
    return (
        "bytes given as audio",
        "recording.bin",
        "BytesIO",
        "data:",
        "text of",
        "audio dict",
        "no audio file",
        "path of the audio",
    )


AREA = Area("damaged recordings in 25 containers and codecs, given in 7 ways", strategy, ask, names, share=0.38)
