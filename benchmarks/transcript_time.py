"""Transcript of a long recording: a student, and Whisper.

The recording is made of those that the repository brings, with pauses between: spoken questions by synthetic voices, and orders of real people. Whisper, greedy, is
used in both ways that transformers' pipeline knows: in windows of 30 s that overlap (`chunk_length_s=30`), and in one window after the other. Both with timestamps:
without them Whisper ends such a window after a sentence or two, and two thirds of the words are lost.
"""

import argparse
from collections.abc import Callable
from typing import Any

from benchmarks.recordings import long_recording, questions_and_orders
from benchmarks.results import Result, Table
from benchmarks.systems import Systems
from benchmarks.timing import time_in_turns
from transformers_aura.evaluation.scorers.interface import Reference
from transformers_aura.evaluation.scorers.words import WordErrorRate


STUDENT = "student"
NO_LANGUAGE_MODEL = "student, LLM weight 0"
GREEDY = "student, greedy"
OVERLAPPING = "Whisper, overlapping windows"
ONE_BY_ONE = "Whisper, one window after the other"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--length", type=float, default=60.0, help="seconds of audio")


def measure(arguments: argparse.Namespace) -> Result:
    systems = Systems(arguments.student, arguments.base_model, dtype=arguments.dtype, device=arguments.device)
    recording = long_recording(questions_and_orders(), arguments.length)
    waveform = recording.waveform
    texts: dict[str, str] = {}
    transcribe: dict[str, Callable[[], str]] = {
        OVERLAPPING: lambda: systems.transcript_of_whisper_pipeline(
            waveform, chunk_length_s=30, return_timestamps=True
        ),
        ONE_BY_ONE: lambda: systems.transcript_of_whisper_pipeline(waveform, return_timestamps=True),
        STUDENT: lambda: systems.transcript(waveform).text,
        NO_LANGUAGE_MODEL: lambda: systems.transcript(waveform, language_model_weight=0).text,
        GREEDY: lambda: systems.transcript(waveform, method="greedy").text,
    }
    if systems.has_faster_whisper:
        for compute_type in ("float32", "int8"):
            transcribe[f"faster-whisper {compute_type}"] = lambda compute_type=compute_type: (
                systems.transcript_of_faster_whisper(waveform, compute_type)
            )

    def keeping_text(name: str, run: Callable[[], str]) -> Callable[[], None]:
        def kept() -> None:
            texts[name] = run()

        return kept

    runs: dict[str, Callable[[], Any]] = {name: keeping_text(name, run) for name, run in transcribe.items()}
    table = Table("Transcript of a long recording", "s", "seconds of audio", STUDENT)
    table.add(
        arguments.length,
        time_in_turns(runs, arguments.rounds, arguments.seconds, arguments.clock, arguments.device),
    )
    scorer = WordErrorRate()
    errors = Table("Word errors of it", "word errors for each word", "seconds of audio", STUDENT)
    reference = Reference((recording.text or "",))
    shares = {
        name: wrong / words
        for name, (wrong, words) in ((name, scorer.statistics(text, reference)) for name, text in texts.items())
    }
    errors.add(arguments.length, {name: [share] for name, share in shares.items()})
    note = f"The recording: {recording.name}, {recording.seconds:.0f} s."
    return Result("transcript_time", tables=[table, errors], notes=[note])
