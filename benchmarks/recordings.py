"""Recordings that the repository brings: spoken questions by synthetic voices, and orders of real people."""

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


def of_length(recordings: Sequence[Recording], shortest: float, longest: float) -> list[Recording]:
    """Those whose length lies between two numbers of seconds."""
    return [recording for recording in recordings if shortest <= recording.seconds <= longest]


def long_recording(recordings: Sequence[Recording], seconds: float, pause_seconds: float = 0.6) -> Recording:
    """
    As many recordings, one behind another with pauses between, as come nearest to a length.

    The pauses hold noise at -75 dB, since digital silence is in no real recording.

    Raises:
        ValueError: the recordings together are shorter, or what is said in one is not known.
    """
    generator = np.random.default_rng(0)
    parts: list[np.ndarray] = []
    texts: list[str] = []
    length = 0.0
    for recording in recordings:
        if recording.text is None:
            raise ValueError(f"What is said in {recording.name} is not known.")
        if abs(length + recording.seconds + pause_seconds - seconds) > abs(length - seconds):
            break
        pause = 10 ** (-75 / 20) * generator.standard_normal(round(pause_seconds * SAMPLING_RATE))
        parts += [recording.waveform, pause.astype(np.float32)]
        texts.append(recording.text)
        length += recording.seconds + pause_seconds
    else:
        if length < seconds - 5:
            raise ValueError(f"The recordings make {length:.0f} seconds together, not {seconds:g}.")
    return Recording(f"{len(texts)} recordings", np.concatenate(parts), " ".join(texts))
