"""First token of the answer to speech, by length: a student, and what people would use instead with the same LLM.

From samples in memory to the first token, features included. Whisper gets its audio padded to 30 s, as it is used, and the LLM reads its transcript; so it does with
faster-whisper's. Encoders with a projector stand before the same LLM (`benchmarks/peers.py`). The LLM alone, on as many embeddings as the student reads, is the limit.
"""

import argparse
import statistics
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.peers import ENCODER, LAYOUTS, EncoderSystem
from benchmarks.recordings import Recording, speech
from benchmarks.results import Result, Table
from benchmarks.systems import INT8, Systems
from benchmarks.timing import time_in_turns


LIMIT = "LLM alone, as many embeddings"
DIRECTLY = "student, directly"
MERGED = "student, merged, directly"
FROM_TRANSCRIPT = "student, from its transcript"
CASCADE = "Whisper + LLM"
WITH_ENCODER = ENCODER.name
FASTER_FLOAT32 = "faster-whisper float32 + LLM"
FASTER_INT8 = "faster-whisper int8 + LLM"
TITLE = "First token of the answer"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--lengths", type=float, nargs="+", default=[1, 3, 10, 30, 60], help="seconds of audio")


def measure(arguments: argparse.Namespace) -> Result:
    systems = Systems(arguments.student, arguments.base_model, dtype=arguments.dtype, device=arguments.device)
    table = Table(TITLE, "s", "seconds of audio", LIMIT)
    encoders = [EncoderSystem(systems, layout) for layout in LAYOUTS]
    for seconds in arguments.lengths:
        runs = runs_of(systems, speech(seconds), encoders)
        table.add(seconds, time_in_turns(runs, arguments.rounds, arguments.seconds, arguments.clock, arguments.device))
    notes = []
    if arguments.dtype == INT8:
        notes.append(
            "int8: the linear layers of the LLM by torch's dynamic quantisation, in all systems alike; embedding, output layer, encoders, patch embedding and "
            "transformers' Whisper are float32. LoRA beside quantised weights is not measured: merge, then quantise."
        )
    if not systems.has_faster_whisper:
        notes.append("faster-whisper is not installed here: `pip install faster-whisper`.")
    return Result("first_token", tables=[table], notes=notes)


def runs_of(
    systems: Systems, waveform: np.ndarray, encoders: Sequence[EncoderSystem] = ()
) -> dict[str, Callable[[], Any]]:
    """What each system does with a clip; without what the student, the format or the installation cannot do."""
    length = systems.prompt_length(waveform)
    text_tokens = length - systems.num_audio_tokens(waveform)
    runs: dict[str, Callable[[], Any]] = {
        LIMIT: lambda: systems.answers_of_embeddings(systems.embeddings(length)),
        MERGED: lambda: systems.first_token(waveform, merged=True),
    }
    if systems.dtype != INT8:
        runs[DIRECTLY] = lambda: systems.first_token(waveform)
        if systems.can_transcribe:
            runs[FROM_TRANSCRIPT] = lambda: systems.first_token(waveform, "transcript")
    for encoder in encoders:
        runs[encoder.layout.name] = lambda encoder=encoder: encoder.first_token(waveform, text_tokens)
    runs[CASCADE] = lambda: systems.first_token_of_cascade(waveform)
    if systems.has_faster_whisper:
        runs[FASTER_FLOAT32] = lambda: systems.first_token_of_faster_whisper(waveform, "float32")
        runs[FASTER_INT8] = lambda: systems.first_token_of_faster_whisper(waveform, "int8")
    return runs


def measure_clips(systems: Systems, clips: Sequence[Recording], rounds: int) -> Table:
    """The student, Whisper and the limit on recordings, each a case; for the demos."""
    table = Table(TITLE, "s", "recording", CASCADE)
    for clip in clips:
        runs = runs_of(systems, clip.waveform)
        named = {name: runs[name] for name in (CASCADE, FROM_TRANSCRIPT, DIRECTLY, LIMIT) if name in runs}
        table.add(clip.name, time_in_turns(named, rounds))
    return table


def median_seconds(table: Table) -> dict[str, float]:
    """For each system the median of the cases, each the median of its rounds."""
    return {
        system: statistics.median(statistics.median(rounds) for rounds in by_case.values())
        for system, by_case in table.values.items()
    }


def summary_rows(table: Table) -> list[list[str]]:
    """For each system: median seconds of the cases, least and most, and how many times as long the cascade takes."""
    rows = []
    medians = median_seconds(table)
    for system, by_case in table.values.items():
        seconds = [statistics.median(rounds) for rounds in by_case.values()]
        ratios = [ratio.median for case in by_case if (ratio := table.ratio(CASCADE, system, case)) is not None]
        spread = f"{min(seconds):.3f} to {max(seconds):.3f}"
        rows.append([system, f"{medians[system]:.3f}", spread, f"{statistics.median(ratios):.2f}"])
    return rows


SUMMARY_COLUMNS = ("system", "seconds, median", "recordings from ... to", f"{CASCADE} takes ... times as long")
