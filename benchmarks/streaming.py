"""First token after the end of speech, where the audio arrives while somebody speaks: a student's stream, and what people would use instead.

The student gets chunks of 100 ms (`model.stream(processor)`), and its time begins when the last one has been taken. Whisper, its encoder with a projector and the student
without a stream can only begin when the speaker has ended. Voxtral Realtime's layout (`benchmarks/peers.py`) listens on, too: after the end it takes the steps that it
is late, then the same LLM answers what was said. All lengths take turns in the same rounds, so that they can be compared.
"""

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.first_token import CASCADE, DIRECTLY, FASTER_INT8, MERGED, WITH_ENCODER
from benchmarks.peers import ENCODER, EncoderSystem, RealtimeSystem
from benchmarks.recordings import speech
from benchmarks.results import Result, Table
from benchmarks.systems import SAMPLING_RATE, Systems
from benchmarks.timing import CLOCKS, time_in_turns
from transformers_aura import AuraForSpeechQA


STREAMED = "student, merged, streamed"
STREAMED_UNMERGED = "student, streamed"
REALTIME = "Voxtral Realtime's layout, then the LLM"
CHUNK_SECONDS = 0.1
LONGEST_OF_REALTIME_SECONDS = 10
"""It takes an LLM's step for every 80 ms of audio; what is left to do at the end does not depend on the length."""


def after(seconds: float) -> str:
    """Name of the student's stream where lengths are compared."""
    return f"{STREAMED}, after {seconds:g} s"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--lengths", type=float, nargs="+", default=[3, 10, 30, 60], help="seconds of audio")


def measure(arguments: argparse.Namespace) -> Result:
    systems = Systems(arguments.student, arguments.base_model, dtype=arguments.dtype, device=arguments.device)
    encoder, realtime = EncoderSystem(systems, ENCODER), RealtimeSystem(systems)
    runs: dict[str, Callable[[], Any]] = {}
    before: dict[str, Callable[[], Any]] = {}
    cases: dict[str, tuple[float, str]] = {}
    listeners: list[tuple[str, Listener | RealtimeListener]] = []

    def add(name: str, seconds: float, run: Callable[[], Any], prepare: Callable[[], Any] | None = None) -> None:
        key = f"{name}, {seconds:g} s"
        runs[key], cases[key] = run, (seconds, name)
        if prepare is not None:
            before[key] = prepare

    for seconds in arguments.lengths:
        waveform = speech(seconds)
        for name, model in ((STREAMED, systems.merged_model), (STREAMED_UNMERGED, systems.model)):
            listener = Listener(systems, model, waveform, arguments.clock)
            listeners.append((name, listener))
            add(name, seconds, listener.answer, listener.listen)
        add(MERGED, seconds, lambda waveform=waveform: systems.first_token(waveform, merged=True))
        add(DIRECTLY, seconds, lambda waveform=waveform: systems.first_token(waveform))
        add(CASCADE, seconds, lambda waveform=waveform: systems.first_token_of_cascade(waveform))
        if systems.has_faster_whisper:
            add(
                FASTER_INT8, seconds, lambda waveform=waveform: systems.first_token_of_faster_whisper(waveform, "int8")
            )
        text_tokens = systems.prompt_length(waveform) - systems.num_audio_tokens(waveform)
        add(WITH_ENCODER, seconds, lambda waveform=waveform, count=text_tokens: encoder.first_token(waveform, count))
        if seconds <= LONGEST_OF_REALTIME_SECONDS:
            late = RealtimeListener(realtime, seconds, systems.transcript_of_whisper(waveform), arguments.clock)
            listeners.append((REALTIME, late))
            add(REALTIME, seconds, late.answer, late.listen)
    budget = arguments.seconds * len(arguments.lengths)
    times = time_in_turns(runs, arguments.rounds, budget, arguments.clock, arguments.device, before)

    table = Table("First token after the end of speech", "s", "seconds of audio", STREAMED)
    for seconds in arguments.lengths:
        table.add(seconds, {name: times[key] for key, (length, name) in cases.items() if length == seconds})
    lengths = Table("The same by length", "s", "case", after(arguments.lengths[0]))
    lengths.add(
        "first_token",
        {after(seconds): times[f"{STREAMED}, {seconds:g} s"] for seconds in arguments.lengths},
    )
    meanwhile = Table("Computing for each second of audio, while it arrives", "s", "seconds of audio", STREAMED)
    for seconds in arguments.lengths:
        meanwhile.add(
            seconds,
            {name: listener.seconds_for_each[1:] for name, listener in listeners if listener.seconds == seconds},
        )
    return Result("streaming", tables=[table, lengths, meanwhile])


class Listener:
    """A stream of the student that gets a recording, and then answers."""

    def __init__(self, systems: Systems, model: AuraForSpeechQA, waveform: np.ndarray, clock: str):
        self.systems, self.model, self.waveform = systems, model, waveform
        self.seconds = len(waveform) / SAMPLING_RATE
        self.seconds_for_each: list[float] = []
        """Of each round, the one that does not count too: what listening took, divided by the length of the recording."""
        self._read = CLOCKS[clock]

    def listen(self) -> None:
        """Everything that is computed before the speaker has ended."""
        size = round(CHUNK_SECONDS * SAMPLING_RATE)
        begun = self._read()
        self.stream = self.model.stream(self.systems.processor)
        for start in range(0, len(self.waveform), size):
            self.stream.feed(self.waveform[start : start + size])
        self.seconds_for_each.append((self._read() - begun) / self.seconds)

    def answer(self) -> Any:
        """What is computed after that."""
        return self.stream.answer(max_new_tokens=1, do_sample=False)


class RealtimeListener:
    """Voxtral Realtime's layout, and then the LLM, which answers what was said."""

    def __init__(self, system: RealtimeSystem, seconds: float, text: str, clock: str):
        self.system, self.seconds, self.text = system, seconds, text
        self.seconds_for_each: list[float] = []
        self._read = CLOCKS[clock]

    def listen(self) -> None:
        """As [`Listener.listen`]."""
        begun = self._read()
        self.system.reset()
        self.system.listen(self.seconds)
        self.seconds_for_each.append((self._read() - begun) / self.seconds)

    def answer(self) -> Any:
        """As [`Listener.answer`]."""
        self.system.finish()
        return self.system.systems.first_token_of_text(self.text)
