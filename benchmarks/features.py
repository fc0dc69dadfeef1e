"""Features of a clip, from samples in memory: ours, and WhisperFeatureExtractor's, padded to 30 s and unpadded."""

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
from transformers import WhisperFeatureExtractor

from benchmarks.recordings import speech
from benchmarks.results import Result, Table
from benchmarks.systems import SAMPLING_RATE, Systems
from benchmarks.timing import time_in_turns
from transformers_aura import AuraFeatureExtractor


OURS = "AuraFeatureExtractor"
WHISPER_PADDED = "WhisperFeatureExtractor, padded to 30 s"
WHISPER_UNPADDED = "WhisperFeatureExtractor, unpadded"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--lengths", type=float, nargs="+", default=[1, 5, 30, 60, 600], help="seconds of audio")


def measure(arguments: argparse.Namespace) -> Result:
    ours = Systems(arguments.student).processor.feature_extractor
    whisper = WhisperFeatureExtractor(feature_size=ours.feature_size)
    table = Table("Features of a clip", "s", "seconds of audio", OURS)
    for seconds in arguments.lengths:
        runs = runs_of(ours, whisper, speech(seconds))
        table.add(seconds, time_in_turns(runs, 10 * arguments.rounds, arguments.seconds / 4, arguments.clock))
    return Result("features", tables=[table])


def runs_of(
    ours: AuraFeatureExtractor, whisper: WhisperFeatureExtractor, waveform: np.ndarray
) -> dict[str, Callable[[], Any]]:
    """What each extractor does with a clip; padded to 30 s only if it is no longer."""
    settings: dict[str, Any] = {"sampling_rate": SAMPLING_RATE, "return_tensors": "pt"}
    runs = {
        OURS: lambda: ours(waveform, **settings),
        WHISPER_UNPADDED: lambda: whisper(waveform, padding="longest", truncation=False, **settings),
    }
    if len(waveform) <= whisper.n_samples:
        runs[WHISPER_PADDED] = lambda: whisper(waveform, **settings)
    return runs
