"""Answers to batches of spoken questions: a whole batch, and tokens a second while it is decoded; a student, Whisper with its LLM, and that LLM alone.

Every answer has as many tokens, whatever is said in it. Decoding is what a batch of whole answers takes longer than one of first tokens.
"""

import argparse
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.first_token import CASCADE, DIRECTLY, LIMIT, MERGED
from benchmarks.recordings import speech
from benchmarks.results import Result, Table
from benchmarks.systems import INT8, SAMPLING_RATE, Systems
from benchmarks.timing import time_in_turns


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--length", type=float, default=3.0, help="seconds of each question")
    parser.add_argument("--tokens", type=int, default=17, help="of each answer")


def measure(arguments: argparse.Namespace) -> Result:
    systems = Systems(arguments.student, arguments.base_model, dtype=arguments.dtype, device=arguments.device)
    whole = Table(
        f"Answers of {arguments.tokens} tokens to questions of {arguments.length:g} s", "s", "batch size", LIMIT
    )
    decoding = Table("Tokens a second while decoding (more is better)", "tokens/s", "batch size", LIMIT)
    for batch_size in arguments.batch_sizes:
        runs = runs_of(systems, batch_size, arguments.length)
        both = {
            f"{name}, {tokens}": lambda run=run, tokens=tokens: run(tokens)
            for name, run in runs.items()
            for tokens in (1, arguments.tokens)
        }
        times = time_in_turns(both, arguments.rounds, arguments.seconds, arguments.clock, arguments.device)
        answers = {name: times[f"{name}, {arguments.tokens}"] for name in runs}
        whole.add(batch_size, answers)
        more_tokens = batch_size * (arguments.tokens - 1)
        decoding.add(
            batch_size,
            {
                name: [
                    more_tokens / max(answer - first, 1e-9)
                    for answer, first in zip(answers[name], times[f"{name}, 1"], strict=True)
                ]
                for name in runs
            },
        )
    return Result("generation", tables=[whole, decoding])


def runs_of(systems: Systems, batch_size: int, seconds: float) -> dict[str, Callable[[int], Any]]:
    """What each system does with a batch of questions, each a different one, for answers of so many tokens."""
    samples = round(seconds * SAMPLING_RATE)
    together = speech(batch_size * seconds)
    waveforms = [together[start : start + samples] for start in range(0, batch_size * samples, samples)]
    length = systems.prompt_length(waveforms[0])

    @torch.no_grad()
    def answer(model: Any, tokens: int) -> torch.Tensor:
        settings = {"max_new_tokens": tokens, "min_new_tokens": tokens, "do_sample": False}
        return model.generate(**systems.inputs(waveforms), **settings)

    runs: dict[str, Callable[[int], Any]] = {
        LIMIT: lambda tokens: systems.answers_of_embeddings(systems.embeddings(length, batch_size), tokens),
        MERGED: lambda tokens: answer(systems.merged_model, tokens),
    }
    if systems.dtype != INT8:
        runs[DIRECTLY] = lambda tokens: answer(systems.model, tokens)
    runs[CASCADE] = lambda tokens: systems.answers_of_texts(systems.transcripts_of_whisper(waveforms), tokens)
    return runs
