"""A corpus of a closed domain in one language: sentences of a small grammar, spoken by offline voices, each clip bent, coloured and placed in a room of its own.

Clip number `i` is planned from its split and number alone, so a build that was killed goes on with the clips that are missing. No test sentence is one of
training, and one voice speaks test clips only.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import soundfile
import soxr
import yaml
from rich.progress import track

from demo.corpus import SAMPLING_RATE, place
from tools.voices import Voice, missing_engines, speak, trim_silence
from transformers_aura.whole_files import write_whole


FOLDER = Path(__file__).parent
LANGUAGES = tuple(sorted(path.stem for path in FOLDER.glob("*.yaml")))


class Domain:
    """What is said in a language, and by whom; see the comments in `de.yaml`."""

    def __init__(self, language: str) -> None:
        content = yaml.safe_load((FOLDER / f"{language}.yaml").read_text(encoding="utf-8"))
        self.language: str = content["language"]
        self._patterns: list[str] = content["patterns"]
        self._values: dict[str, list[str]] = content["values"]
        self.voices = [_voice(entry) for entry in content["voices"]]
        self.test_voice = _voice(content["test_voice"])

    def sentence(self, generator: random.Random) -> str:
        """One sentence; the same state of `generator` gives the same."""
        pattern = generator.choice(self._patterns)
        return re.sub(r"\{(\w+)\}", lambda found: generator.choice(self._values[found[1]]), pattern)


def _voice(entry: Sequence) -> Voice:
    engine, name, (lowest, highest) = entry
    return Voice(engine, name, (lowest, highest))


@dataclass(frozen=True)
class Clip:
    """A clip to make: its file, what is said, by whom, and how. `seed` settles everything else about its sound."""

    audio: str
    transcript: str
    voice: Voice
    rate: float
    tract: float
    seed: int


def plan(domain: Domain, num_train: int, num_test: int) -> dict[str, list[Clip]]:
    """The clips of the splits `train` and `test`; half of the test clips are in the voice that training never has."""

    def clip(split: str, number: int, voices: Sequence[Voice], forbidden: set[str]) -> Clip:
        generator = random.Random(f"{domain.language} {split} {number}")
        sentence = domain.sentence(generator)
        while sentence in forbidden:
            sentence = domain.sentence(generator)
        # The first voice is the most natural one: half of all clips are its own.
        voice = voices[0] if generator.random() < 0.5 else generator.choice(voices)
        tract, rate = generator.uniform(*voice.tract), generator.uniform(0.9, 1.15)
        return Clip(f"{split}_{number:05d}.flac", sentence, voice, rate, tract, generator.getrandbits(32))

    test = [
        clip("test", number, [domain.test_voice] if number % 2 else domain.voices, set()) for number in range(num_test)
    ]
    kept_aside = {each.transcript for each in test}
    return {"train": [clip("train", number, domain.voices, kept_aside) for number in range(num_train)], "test": test}


def build(language: str, folder: Path, num_train: int, num_test: int, workers: int) -> None:
    """Makes what is missing in `folder`: a FLAC file a clip, `train.jsonl` and `test.jsonl`."""
    domain = Domain(language)
    if missing := missing_engines({voice.engine for voice in (*domain.voices, domain.test_voice)}):
        raise SystemExit(f"Voices of {domain.language} are missing. Install {'; '.join(missing)}.")
    splits = plan(domain, num_train, num_test)
    folder.mkdir(parents=True, exist_ok=True)
    missing = [clip for clips in splits.values() for clip in clips if not (folder / clip.audio).is_file()]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        made = pool.map(_make_file, [folder] * len(missing), missing, chunksize=8)
        for _ in track(made, description=f"Speaking {len(missing)} clips", total=len(missing)):
            pass
    for split, clips in splits.items():
        rows = (
            {
                "audio": clip.audio,
                "transcript": clip.transcript,
                "seconds": round(soundfile.info(folder / clip.audio).duration, 2),
                "voice": str(clip.voice),
            }
            for clip in clips
        )
        write_whole(folder / f"{split}.jsonl", "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def samples_of(clip: Clip) -> np.ndarray:
    """The samples of a clip: float32 `(n_samples,)` at 16 kHz within [-1, 1]."""
    samples, sampling_rate = speak(clip.voice, clip.transcript, clip.rate / clip.tract, clip.seed)
    # Played at `tract` times its own rate: pitch and formants move together, as between people of different size.
    samples = soxr.resample(samples, sampling_rate * clip.tract, SAMPLING_RATE)
    return place(trim_silence(samples, margin_seconds=0.04), np.random.default_rng(clip.seed))


def _make_file(folder: Path, clip: Clip) -> None:
    partial = folder / f".{clip.audio}"
    soundfile.write(partial, samples_of(clip), SAMPLING_RATE, format="FLAC", subtype="PCM_16")
    partial.replace(folder / clip.audio)
