"""First token and memory with the shapes of Qwen2.5-7B, random weights, beside Whisper-large-v3's: the systems of the paper's table.

Random weights take as long as trained ones. On a GPU memory is measured, too: what a system's run allocates beyond the weights, and the weights of that system, counted.
The merged student is measured, as it would be served; the patch embedding is laid out as that of the student at hand.
"""

import argparse
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.first_token import CASCADE, DIRECTLY, LIMIT, MERGED, TITLE, runs_of
from benchmarks.operations import BYTES_PER_VALUE, Parts
from benchmarks.operations import CASCADE as CASCADE_WEIGHTS
from benchmarks.operations import LANGUAGE_MODEL as LANGUAGE_MODEL_WEIGHTS
from benchmarks.operations import MERGED as MERGED_WEIGHTS
from benchmarks.peers import LAYOUTS, EncoderSystem
from benchmarks.recordings import speech
from benchmarks.results import Result, Table
from benchmarks.shapes import RandomSystems, of_student, qwen_7b
from benchmarks.timing import time_in_turns


SHAPES = {"qwen2.5-7b": qwen_7b, "student": of_student}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--lengths", type=float, nargs="+", default=[3, 10, 30], help="seconds of audio")
    parser.add_argument("--shapes", choices=list(SHAPES), default="qwen2.5-7b")


def measure(arguments: argparse.Namespace) -> Result:
    shapes = SHAPES[arguments.shapes](arguments.student)
    systems = RandomSystems(arguments.student, dtype=arguments.dtype, device=arguments.device, shapes=shapes)
    time = Table(f"{TITLE}, {shapes.name}", "s", "seconds of audio", LIMIT)
    memory = Table(f"Peak memory, {shapes.name}", "bytes", "seconds of audio", LIMIT)
    encoders = [EncoderSystem(systems, layout) for layout in LAYOUTS]
    on_gpu = arguments.device.startswith("cuda")
    weights = weights_of(systems) if on_gpu else {}
    for seconds in arguments.lengths:
        runs = runs_of(systems, speech(seconds), encoders)
        del runs[DIRECTLY]
        settings = arguments.rounds, arguments.seconds, arguments.clock, arguments.device
        time.add(seconds, time_in_turns(runs, *settings))
        if on_gpu:
            memory.add(seconds, {name: [weights[name] + allocated_by(run)] for name, run in runs.items()})
    note = (
        "The paper reports 0.37 to 0.40 s and 10.6 GB for AuRA, 0.42 to 0.96 s and 13.9 to 27.6 GB for others, on Qwen2.5-7B; its machine, number format and "
        "length of audio are not known."
    )
    return Result("large", tables=[time, memory] if on_gpu else [time], notes=[note])


def weights_of(systems: RandomSystems) -> dict[str, float]:
    """Bytes of the weights that each system needs."""
    counted = Parts(systems.sizes).weight_bytes()
    names = {LIMIT: LANGUAGE_MODEL_WEIGHTS, MERGED: MERGED_WEIGHTS, CASCADE: CASCADE_WEIGHTS}
    names |= {layout.name: layout.name for layout in LAYOUTS}
    width = getattr(torch, systems.float_dtype).itemsize / BYTES_PER_VALUE
    return {name: width * counted[counted_as] for name, counted_as in names.items()}


def allocated_by(run: Callable[[], Any]) -> int:
    """Bytes of the GPU that a run has at most, beyond what was there before."""
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    run()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before
