"""What is changed between a benchmark's recording and what a system gets: noise, speed, gain, where the audio stands, and controls.

A condition is written as its name and a number: `clean`, `noise:12`, `speed:1.2`, `gain:-20`, `context:256`, `shuffled`.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import soxr

from ..processing.audio_loading import load_audio
from ..processing.mixing import SAMPLING_RATE, mix


CONDITIONS = {
    "clean": "the recording as it is",
    "noise": "noise mixed in, at this ratio in dB of the speech's power where somebody speaks to the noise's",
    "speed": "played this many times as fast, pitch and all",
    "gain": "louder by this many dB",
    "context": "so many words of text before the audio, so that it starts later",
    "shuffled": "each item gets another item's recording: what is right by chance",
}
"""What each condition does."""

_LIMITS = {"noise": (-20.0, 60.0), "speed": (0.5, 2.0), "gain": (-60.0, 18.0), "context": (1.0, 4096.0)}
_NEUTRAL_TEXT = "This text stands before the recording and has nothing to do with it."


@dataclass(frozen=True)
class Condition:
    """One condition.

    Attributes:
        name: of [`CONDITIONS`].
        amount: its number; 0 where there is none.
        noise (float32 `(n_samples,)`, 16 kHz): excerpts of it are mixed in; needed by `noise` alone.
        seed: of the excerpts and of the shuffling.
    """

    name: str = "clean"
    amount: float = 0.0
    noise: np.ndarray | None = None
    seed: int = 0

    @classmethod
    def parse(cls, written: str, noise: Any = None, seed: int = 0) -> Condition:
        """A condition from its written form.

        Args:
            written: `name` or `name:number`.
            noise: what `load_audio` takes; needed by `noise:...`.
            seed: see the class.

        Raises:
            ValueError: there is no such condition, or its number is missing, not wanted or out of range.
        """
        name, _, amount = written.partition(":")
        if name not in CONDITIONS:
            close = difflib.get_close_matches(name, CONDITIONS, n=1)
            suggestion = f" Did you mean '{close[0]}'?" if close else ""
            raise ValueError(f"There is no condition '{name}'.{suggestion} There are {', '.join(CONDITIONS)}.")
        if name not in _LIMITS:
            if amount:
                raise ValueError(f"The condition '{name}' takes no number, got '{written}'.")
            return cls(name, seed=seed)
        low, high = _LIMITS[name]
        try:
            number = float(amount)
        except ValueError:
            raise ValueError(
                f"The condition '{name}' needs a number, as in '{name}:{high:g}'; got '{written}'."
            ) from None
        if not low <= number <= high:
            raise ValueError(f"'{written}': the number must lie between {low:g} and {high:g} ({CONDITIONS[name]}).")
        if name == "context" and not number.is_integer():
            raise ValueError(f"'{written}': the number of words is a whole one.")
        if name == "noise" and noise is None:
            raise ValueError(f"'{written}' needs a recording of noise (`--noise kitchen.flac`).")
        samples = load_audio(noise) if name == "noise" else None
        if samples is not None and not samples.any():
            raise ValueError(f"'{written}': the recording of noise holds nothing but digital silence.")
        return cls(name, number, samples, seed)

    def __str__(self) -> str:
        return f"{self.name}:{self.amount:g}" if self.name in _LIMITS else self.name

    def without_sound(self) -> Condition:
        """What is left of it for a system that works on text."""
        return Condition(seed=self.seed) if self.name in ("noise", "speed", "gain") else self

    @property
    def identity(self) -> dict[str, Any]:
        """What was done, for the result file."""
        found: dict[str, Any] = {"condition": str(self), "seed": self.seed}
        if self.noise is not None:
            found["noise"] = hashlib.sha256(self.noise.tobytes()).hexdigest()[:16]
        return found

    def apply(self, waveform: np.ndarray, name: str) -> np.ndarray:
        """What a system gets for the item `name` whose recording is `waveform` (float32 `(n_samples,)`, 16 kHz).

        Where the result would clip, all of it is made quieter. The excerpt of noise depends on seed, item and ratio alone.
        """
        if self.name == "noise":
            assert self.noise is not None
            start = int(self._generator(name).integers(len(self.noise)))
            excerpt = np.resize(np.roll(self.noise, -start), len(waveform))
            waveform = mix(waveform, excerpt, self.amount)
        elif self.name == "speed":
            waveform = np.asarray(soxr.resample(waveform, SAMPLING_RATE * self.amount, SAMPLING_RATE), np.float32)
        elif self.name == "gain":
            return (waveform * np.float32(10 ** (self.amount / 20))).clip(-1, 1)
        else:
            return waveform
        return (waveform / max(1.0, float(np.abs(waveform).max()))).astype(np.float32)

    def context(self, own: str | None) -> str | None:
        """The text before the audio: the item's own, after so many neutral words."""
        if self.name != "context":
            return own
        words = _NEUTRAL_TEXT.split()
        count = int(self.amount)
        text = " ".join((words * (count // len(words) + 1))[:count])
        return text if own is None else f"{text}\n{own}"

    def recording_of(self, names: Sequence[str]) -> dict[str, str]:
        """Whose recording each item gets: its own, or, `shuffled`, that of another (no item keeps its own if there are two or more)."""
        if self.name != "shuffled" or len(names) < 2:
            return {name: name for name in names}
        order = [names[index] for index in np.random.default_rng(self.seed).permutation(len(names))]
        return dict(zip(order, [*order[1:], order[0]], strict=True))

    def _generator(self, name: str) -> np.random.Generator:
        digest = hashlib.sha256(json.dumps([self.seed, name, self.amount]).encode()).digest()
        return np.random.default_rng(int.from_bytes(digest[:8], "big"))
