"""The transcript of a long recording: a student, and Whisper.

    python -m benchmarks.transcript_time --threads 1

The recording is made of those that the repository brings, with pauses between: spoken questions by synthetic voices, and orders of real people. Whisper, greedy, is
used in both ways that transformers' pipeline knows: in windows of 30 s that overlap (`chunk_length_s=30`), and in one window after the other. Both with timestamps:
without them Whisper ends such a window after a sentence or two, and two thirds of the words are lost.
"""

import argparse
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.recordings import ORDERS, QUESTIONS, Recording, long_recording, read_recordings
from benchmarks.systems import STUDENT, Systems, set_threads
from benchmarks.timing import machine, machine_line, markdown_table, ratio, time_in_turns, write_result
from transformers_aura.evaluation.scorers.interface import Reference
from transformers_aura.evaluation.scorers.words import WordErrorRate


OVERLAPPING = "Whisper, overlapping windows"
ONE_BY_ONE = "Whisper, one window after the other"
STUDENT_ROWS: dict[str, dict[str, Any]] = {
    "student": {},
    "student, LLM weight 0": {"language_model_weight": 0},
    "student, greedy": {"method": "greedy"},
}


def questions_and_orders() -> list[Recording]:
    """In turns, until the questions are used up; then the other orders."""
    pairs = itertools.zip_longest(read_recordings(QUESTIONS), read_recordings(ORDERS))
    return [recording for pair in pairs for recording in pair if recording is not None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--student", default=STUDENT, help="packaged student, folder or Hub id")
    parser.add_argument(
        "--base-model", help="of the student, folder or Hub id; default: the copy of `make real-models`"
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="length of the recording")
    parser.add_argument("--rounds", type=int, default=3, help="how often it is measured")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="where the result goes as JSON")
    settings = parser.parse_args()

    set_threads(settings.threads)
    systems = Systems(settings.student, settings.base_model)
    of_machine = machine(systems.dtype)
    recording = long_recording(questions_and_orders(), settings.seconds)
    texts: dict[str, str] = {}

    def whisper(name: str, **kwargs: Any) -> Callable[[Recording], None]:
        def run(clip: Recording) -> None:
            texts[name] = systems.transcript_of_whisper_pipeline(clip.waveform, **kwargs)

        return run

    def student(name: str, **kwargs: Any) -> Callable[[Recording], None]:
        def run(clip: Recording) -> None:
            texts[name] = systems.transcript(clip.waveform, **kwargs).text

        return run

    times = time_in_turns(
        {
            OVERLAPPING: whisper(OVERLAPPING, chunk_length_s=30, return_timestamps=True),
            ONE_BY_ONE: whisper(ONE_BY_ONE, return_timestamps=True),
            **{name: student(name, **kwargs) for name, kwargs in STUDENT_ROWS.items()},
        },
        [recording],
        settings.rounds,
    )
    scorer = WordErrorRate()
    errors = {name: scorer.statistics(text, Reference((recording.text or "",))) for name, text in texts.items()}
    rows = []
    for name, of_system in times.items():
        wrong, words = errors[name]
        seconds = of_system.seconds[0]
        rows.append(
            [
                name,
                f"{of_system.median:.2f}",
                f"{min(seconds):.2f} to {max(seconds):.2f}",
                *(f"{ratio(times[other], of_system).median:.2f}" for other in (OVERLAPPING, ONE_BY_ONE)),
                f"{wrong:.0f} of {words:.0f} = {wrong / words:.1%}",
            ]
        )
    write_result(
        settings.json,
        {
            "benchmark": "transcript_time",
            "machine": of_machine,
            "student": settings.student,
            "seconds": recording.seconds,
            "recording": recording.name,
            "said": recording.text,
            "times": times,
            "texts": texts,
            "word_errors": errors,
        },
    )
    print(
        f"\nTranscript of {recording.name} in {recording.seconds:.0f} s, median of {settings.rounds} rounds. {machine_line(of_machine)}\n"
    )
    print(
        markdown_table(
            (
                "system",
                "seconds, median",
                "from ... to",
                f"{OVERLAPPING}: times as long",
                f"{ONE_BY_ONE}: times as long",
                "word errors",
            ),
            rows,
        )
    )


if __name__ == "__main__":
    main()
