"""The first token of the answer to a spoken question: a student, and Whisper with the same LLM.

    python -m benchmarks.first_token --threads 1

From samples in memory to the first token, features included. All systems run in one process and one format, in turns, after a first round that does not count:
Whisper, its clip padded to 30 s as it is used, and the LLM, which reads its transcript; the student through its pipeline, from its transcript and directly; and the
LLM on as many embeddings as the student reads, which is the limit. Without `--clips`, the spoken questions of `demo/questions` are asked.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.recordings import QUESTIONS, Recording, of_length, read_recordings
from benchmarks.systems import STUDENT, Systems, set_threads
from benchmarks.timing import Times, machine, machine_line, markdown_table, ratio, time_in_turns, write_result


CASCADE = "Whisper + LLM"
FROM_TRANSCRIPT = "student, from its transcript"
DIRECTLY = "student, directly"
LIMIT = "LLM alone, as many embeddings"


def measure(systems: Systems, clips: Sequence[Recording], rounds: int) -> dict[str, Times]:
    """Times of each system; a student without the heads for transcripts is asked directly only."""
    lengths = {clip.name: systems.prompt_length(clip.waveform) for clip in clips}
    runs: dict[str, Callable[[Recording], Any]] = {
        CASCADE: lambda clip: systems.first_token_of_cascade(clip.waveform),
        FROM_TRANSCRIPT: lambda clip: systems.first_token(clip.waveform, "transcript"),
        DIRECTLY: lambda clip: systems.first_token(clip.waveform, "audio"),
        LIMIT: lambda clip: systems.first_token_of_embeddings(lengths[clip.name]),
    }
    if not systems.can_transcribe:
        del runs[FROM_TRANSCRIPT]
    return time_in_turns(runs, clips, rounds)


def table_rows(times: dict[str, Times]) -> list[list[str]]:
    """For each system: median seconds, shortest and longest clip, and how many times as long the cascade takes."""
    rows = []
    for name, of_system in times.items():
        by_clip = of_system.by_clip
        times_as_long = "1" if name == CASCADE else str(ratio(times[CASCADE], of_system))
        rows.append([name, f"{of_system.median:.3f}", f"{min(by_clip):.3f} to {max(by_clip):.3f}", times_as_long])
    return rows


COLUMNS = ("system", "seconds, median", "clips from ... to", f"{CASCADE} takes ... times as long")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--student", default=STUDENT, help="packaged student, folder or Hub id")
    parser.add_argument(
        "--base-model", help="of the student, folder or Hub id; default: the copy of `make real-models`"
    )
    parser.add_argument("--clips", type=Path, default=QUESTIONS, help="folder of recordings")
    parser.add_argument("--seconds", type=float, nargs=2, default=[2.0, 5.0], help="shortest and longest clip")
    parser.add_argument("--most-clips", type=int, default=12, help="the first so many of the folder are taken")
    parser.add_argument("--rounds", type=int, default=3, help="how often each clip is measured")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="where the result goes as JSON")
    settings = parser.parse_args()

    set_threads(settings.threads)
    systems = Systems(settings.student, settings.base_model)
    of_machine = machine(systems.dtype)
    clips = of_length(read_recordings(settings.clips), *settings.seconds)[: settings.most_clips]
    if not clips:
        parser.error(f"{settings.clips} holds no clip of {settings.seconds[0]:g} to {settings.seconds[1]:g} seconds")
    times = measure(systems, clips, settings.rounds)
    ratios = {name: ratio(times[CASCADE], of_system) for name, of_system in times.items() if name != CASCADE}
    write_result(
        settings.json,
        {
            "benchmark": "first_token",
            "machine": of_machine,
            "student": settings.student,
            "rounds": settings.rounds,
            "clips": [{"name": clip.name, "seconds": clip.seconds} for clip in clips],
            "times": times,
            "ratios": ratios,
        },
    )
    lengths = [clip.seconds for clip in clips]
    print(
        f"\nFirst token of a spoken question, {len(clips)} clips of {min(lengths):.1f} to {max(lengths):.1f} s, median of {settings.rounds} rounds each. "
        f"{machine_line(of_machine)}\n"
    )
    print(markdown_table(COLUMNS, table_rows(times)))


if __name__ == "__main__":
    main()
