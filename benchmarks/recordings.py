"""Recordings that the repository brings: spoken questions by synthetic voices, and orders of real people."""

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.without_speech import SAMPLING_RATE
from transformers_aura import load_audio


REPOSITORY = Path(__file__).parents[1]
QUESTIONS = REPOSITORY / "demo" / "questions"
ORDERS = REPOSITORY / "tests" / "fixtures" / "speech"


@dataclass(frozen=True)
class Recording:
    """A recording: its name, its samples, float32 `(n_samples,)` at 16 kHz, and what is said in it, where that is known."""

    name: str
    waveform: np.ndarray
    text: str | None = None

    @property
    def seconds(self) -> float:
        """Its length."""
        return len(self.waveform) / SAMPLING_RATE


def read_recordings(folder: Path) -> list[Recording]:
    """Those that the folder's `manifest.jsonl` names, with their texts; without one, every audio file in it.

    Raises:
        FileNotFoundError: there are none.
    """
    manifest = folder / "manifest.jsonl"
    if manifest.is_file():
        rows = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]
        texts = {row["audio"]: row.get("question") or row.get("transcript") for row in rows}
    else:
        texts = {file.name: None for file in sorted(folder.glob("*")) if file.suffix in (".flac", ".wav", ".mp3")}
    if not texts:
        raise FileNotFoundError(f"{folder} holds no recordings: neither manifest.jsonl nor .flac, .wav or .mp3 files.")
    return [Recording(name, load_audio(folder / name), text) for name, text in texts.items()]


def questions_and_orders() -> list[Recording]:
    """Those of the repository in turns, until the questions are used up; then the other orders."""
    pairs = itertools.zip_longest(read_recordings(QUESTIONS), read_recordings(ORDERS))
    return [recording for pair in pairs for recording in pair if recording is not None]


def speech(seconds: float, recordings: Sequence[Recording] | None = None) -> np.ndarray:
    """
    Speech of exactly this length: recordings with pauses between, from the first again when all are used up, the last one cut off.

    Args:
        seconds: length.
        recordings: default: [`questions_and_orders`].

    Returns:
        float32 `(n_samples,)` at 16 kHz.
    """
    parts: list[np.ndarray] = []
    missing = round(seconds * SAMPLING_RATE)
    for recording in itertools.cycle(questions_and_orders() if recordings is None else recordings):
        for part in (recording.waveform, pause(0.6, seed=len(parts))):
            parts.append(part[:missing])
            missing -= len(parts[-1])
        if missing == 0:
            return np.concatenate(parts)


def long_recording(recordings: Sequence[Recording], seconds: float, pause_seconds: float = 0.6) -> Recording:
    """
    As many recordings, one behind another with pauses between, as come nearest to a length.

    Raises:
        ValueError: the recordings together are shorter, or what is said in one is not known.
    """
    parts: list[np.ndarray] = []
    texts: list[str] = []
    length = 0.0
    for recording in recordings:
        if recording.text is None:
            raise ValueError(f"What is said in {recording.name} is not known.")
        if abs(length + recording.seconds + pause_seconds - seconds) > abs(length - seconds):
            break
        parts += [recording.waveform, pause(pause_seconds, seed=len(parts))]
        texts.append(recording.text)
        length += recording.seconds + pause_seconds
    else:
        if length < seconds - 5:
            raise ValueError(f"The recordings make {length:.0f} seconds together, not {seconds:g}.")
    return Recording(f"{len(texts)} recordings", np.concatenate(parts), " ".join(texts))


def pause(seconds: float, seed: int) -> np.ndarray:
    """Noise at -75 dB, since digital silence is in no real recording."""
    noise = np.random.default_rng(seed).standard_normal(round(seconds * SAMPLING_RATE))
    return (10 ** (-75 / 20) * noise).astype(np.float32)
