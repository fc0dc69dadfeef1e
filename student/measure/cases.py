"""The cases of a measurement: what is heard, what is asked, what is true.

| set | heard | asked | truth |
|---|---|---|---|
| orders | recordings of real people, kept out of training by `student/validation_clips.txt` | for the order as JSON | slots |
| noise | the same with kitchen noise at 6 to 24 dB, from seconds that training never hears | the same | slots |
| questions | spoken questions, see `spoken_questions.py` | nothing (the recording is the question); for a transcript | accepted answers; transcript |
| reading | read English by speakers of no corpus of ours, open vocabulary | for a transcript | transcript |
"""

import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from student.measure.interface import Kind
from student.noise import mix_with_piece, read_noise
from student.recordings import NOISE_FILE, Recording, order_recordings, read_speech
from student.reserved import TRANSCRIPTS
from student.texts.orders import ORDER_QUESTION
from transformers_aura.processing.conversation import TRANSCRIPTION_INSTRUCTION


REPOSITORY = Path(__file__).resolve().parents[2]
BARISTA = REPOSITORY.parent / "shared" / "data" / "barista"
VALIDATION_CLIPS = REPOSITORY / "student" / "validation_clips.txt"
SNR_DB = (6, 9, 12, 15, 18, 21, 24)


@dataclass(frozen=True)
class Case:
    """One thing to ask.

    Attributes:
        name: unique within its set.
        kind: what the truth is: an order's slots (`dict`), accepted answers (`list`) or a transcript (`str`).
        group: what it is counted with, `"12 dB"` for example.
        source: the recording or text behind it; cases of one source are not independent of each other.
        question: what is asked in writing; `None` = the recording is the question.
        text: what is said, where it is known.
        needed: how many of the accepted answers an answer must name.
        load: gives the samples, float32 `(n_samples,)` at 16 kHz.
    """

    name: str
    kind: Kind
    group: str
    source: str
    seconds: float
    question: str | None
    text: str | None
    truth: Any
    load: Callable[[], np.ndarray] = field(repr=False, compare=False)
    needed: int = 1


def order_cases(barista: Path = BARISTA, limit: int | None = None) -> list[Case]:
    """Validation recordings of a folder with `manifest.jsonl`; none, said aloud, when it is absent."""
    return [
        Case(
            name=recording.path.name,
            kind="order",
            group="clean",
            source=recording.path.name,
            seconds=soundfile.info(recording.path).duration,
            question=ORDER_QUESTION,
            text=None,
            truth=recording.slots,
            load=lambda path=recording.path: read_speech(path),
        )
        for recording in _validation_recordings(barista)[:limit]
    ]


def noise_cases(barista: Path = BARISTA, limit: int | None = None, seed: int = 0) -> list[Case]:
    """The same recordings at every SNR of [`SNR_DB`]; none, said aloud, where recordings or noise are absent.

    A clip's piece of noise is drawn from `(seed, clip, SNR)`. `limit` is the number of recordings.
    """
    recording = barista / NOISE_FILE
    if not recording.is_file():
        print(f"No noisy orders: {recording} is absent, so they are left out.", flush=True)
        return []
    noise = read_noise(recording, training=False)
    return [
        Case(
            name=f"{case.name} {snr_db} dB",
            kind="order",
            group=f"{snr_db} dB",
            source=case.source,
            seconds=case.seconds,
            question=case.question,
            text=None,
            truth=case.truth,
            load=lambda case=case, snr_db=snr_db: mix_with_piece(
                case.load(), noise, snr_db, _generator(seed, case.name, snr_db)
            ),
        )
        for case in order_cases(barista, limit)
        for snr_db in SNR_DB
    ]


def _generator(seed: int, name: str, snr_db: int) -> np.random.Generator:
    return np.random.default_rng(random.Random(f"{seed} {name} {snr_db}").getrandbits(64))


def _validation_recordings(barista: Path) -> list[Recording]:
    names = set(VALIDATION_CLIPS.read_text().split())
    return [recording for recording in order_recordings(barista) if recording.path.name in names]


def reading_cases(folder: Path = TRANSCRIPTS, limit: int | None = None) -> list[Case]:
    """Sentences of an audio book and read playing cards, from Debian's `pocketsphinx-testdata`; none, said aloud, without it.

    `limit` is the number of clips of each of the two.
    """
    cases = []
    for part, transcription in (("librivox", "transcription"), ("cards", "cards.transcription")):
        file = folder / part / transcription
        if not file.is_file():
            print(f"No read {part}: {file} is absent (Debian: apt-get install pocketsphinx-testdata).", flush=True)
            continue
        for line in file.read_text().splitlines()[:limit]:
            text, name = _parse_transcription(line)
            path = file.with_name(f"{name}.wav")
            cases.append(
                Case(
                    name=f"{part}/{name}",
                    kind="transcript",
                    group=part,
                    source=name,
                    seconds=soundfile.info(path).duration,
                    question=TRANSCRIPTION_INSTRUCTION,
                    text=text,
                    truth=text,
                    load=lambda path=path: read_speech(path),
                )
            )
    return cases


def _parse_transcription(line: str) -> tuple[str, str]:
    """Text and clip of a line `<s> seven of clubs </s> (003)`."""
    match = re.fullmatch(r"<s>\s*(.+?)\s*</s>\s*\((.+)\)\s*", line)
    if match is None:
        raise ValueError(f"Not a line of a Sphinx transcription, `<s> words </s> (clip)`: {line!r}.")
    return match[1], match[2]
