"""Requests over HTTP by clients at once: a student asked with recordings, beside the same engine with its bare LLM, and beside Whisper and that LLM.

Every client asks again as soon as it was answered; answers are streamed, and have as many tokens whatever was said. The bare LLM reads texts of as many tokens as
the student reads. Of the pair, faster-whisper behind a small server writes the recording down first, then the same bare LLM is asked: vLLM's own Whisper names a
language in its prompt, to which the English-only tiny.en answers nothing. Needs OpenAI's client, vLLM or the extra `serving`, and faster-whisper for the pair.
"""

import argparse
import base64
import io
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import soundfile
from transformers import AutoTokenizer

from benchmarks.first_token import FASTER_FLOAT32
from benchmarks.levels import ORDER_QUESTION
from benchmarks.recordings import ORDERS, Recording, read_recordings
from benchmarks.results import Result, Table
from benchmarks.servers import Server, running, vllm_command
from benchmarks.systems import Systems
from benchmarks.without_speech import SAMPLING_RATE
from transformers_aura import build_conversation
from transformers_aura.hub import merge_to_folder


TRANSFORMERS, VLLM = "transformers", "vllm"
STUDENT, BARE = "student, merged", "LLM alone, as many tokens"
Ask = Callable[[int], float]
"""Sends the request of a number; returns seconds until the first token, when the answer has ended."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--engine", nargs="+", default=[VLLM, TRANSFORMERS], choices=[VLLM, TRANSFORMERS])
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32], help="at once")
    parser.add_argument("--requests", type=int, default=4, help="of each client")
    parser.add_argument("--most", type=int, default=64, help="requests of all clients, unless there are more clients")
    parser.add_argument("--tokens", type=int, default=17, help="of each answer")


def measure(arguments: argparse.Namespace) -> Result:
    systems = Systems(arguments.student, arguments.base_model, dtype=arguments.dtype)
    requests = Requests(systems, read_recordings(ORDERS), arguments.tokens)
    tables: list[Table] = []
    for engine in arguments.engine:
        with ExitStack() as stack:
            tables += _tables(engine, started(engine, requests, arguments.threads, stack), arguments)
    seconds = [recording.seconds for recording in requests.recordings]
    notes = [
        f"Recordings of {min(seconds):.1f} to {max(seconds):.1f} s, {min(requests.lengths)} to {max(requests.lengths)} tokens with the question; answers of "
        f"{arguments.tokens}. {arguments.requests} requests of each client, at most {arguments.most} together.",
        "Whisper is tiny.en, in a server of its own, which shares the processor with the LLM's and transcribes one recording after another.",
        "transformers answers one request after another. vLLM runs without compiling, and keeps nothing of earlier requests.",
    ]
    return Result("serving_load", tables=tables, notes=notes)


class Requests:
    """
    What clients send, a request for each recording.

    Args:
        systems: the student's processor, and the LLM's folder.
        recordings: what is asked with.
        tokens: of each answer.

    Attributes:
        lengths: tokens that the student reads.
        files: the recordings as wav files in 16 bits.
        spoken: content of messages, each a recording and a written question.
        written: texts, each with other words, of which the LLM reads as many tokens as the student of the spoken request.
    """

    def __init__(self, systems: Systems, recordings: list[Recording], tokens: int) -> None:
        self.systems = systems
        self.recordings = recordings
        self.tokens = tokens
        self.lengths = [self._prompt_length(recording) for recording in recordings]
        self.files = [_wave_file(recording) for recording in recordings]
        self.spoken = [
            [
                {"type": "input_audio", "input_audio": {"data": base64.b64encode(file).decode(), "format": "wav"}},
                {"type": "text", "text": ORDER_QUESTION},
            ]
            for file in self.files
        ]
        tokenizer = AutoTokenizer.from_pretrained(systems.base_model_folder)  # with the template that a server takes
        self.written = [_text(tokenizer, f"Request {number}:", length) for number, length in enumerate(self.lengths)]

    def answer_settings(self, engine: str) -> dict[str, Any]:
        """Fields with which an engine streams greedy answers of exactly so many tokens."""
        common = {"temperature": 0, "max_tokens": self.tokens, "stream": True}
        if engine == VLLM:
            return common | {"extra_body": {"ignore_eos": True}}
        limits = {"max_new_tokens": self.tokens, "min_new_tokens": self.tokens, "do_sample": False}
        limits["eos_token_id"] = self.systems.processor.tokenizer.eos_token_id
        return common | {"extra_body": {"generation_config": json.dumps(limits)}}

    def _prompt_length(self, recording: Recording) -> int:
        chat = build_conversation({"array": recording.waveform, "sampling_rate": SAMPLING_RATE}, ORDER_QUESTION)
        settings = {"tokenize": True, "return_dict": True, "return_tensors": "pt", "add_generation_prompt": True}
        return self.systems.processor.apply_chat_template(chat, **settings)["input_ids"].shape[1]


class Client:
    """Asks a server by OpenAI's client."""

    def __init__(self, server: Server) -> None:
        from openai import OpenAI

        self._model = server.model
        self._client = OpenAI(base_url=server.url, api_key="none", max_retries=0, timeout=1200)

    def first_token(self, content: Any, settings: Mapping[str, Any]) -> float:
        """Seconds until the first token of an answer, which is read to its end."""
        messages: Any = [{"role": "user", "content": content}]
        begun, first = time.perf_counter(), None
        with self._client.chat.completions.create(model=self._model, messages=messages, **settings) as stream:
            for event in stream:
                if first is None and event.choices and event.choices[0].delta.content:
                    first = time.perf_counter() - begun
        return time.perf_counter() - begun if first is None else first

    def transcript(self, file: bytes) -> str:
        """What was said in a recording."""
        return self._client.audio.transcriptions.create(model=self._model, file=("clip.wav", file)).text


def started(engine: str, requests: Requests, threads: int, stack: ExitStack) -> dict[str, Ask]:
    """Starts each system's servers, which run until the stack is closed; returns how each is asked."""
    os.environ.update(OMP_NUM_THREADS=str(threads), VLLM_NO_USAGE_STATS="1")
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    os.environ.setdefault(
        "VLLM_CPU_OMP_THREADS_BIND", "nobind"
    )  # the servers share the cores, and one system is asked at a time
    systems = requests.systems
    base, folder = systems.base_model_folder, Path(stack.enter_context(tempfile.TemporaryDirectory())) / "merged"
    merged = merge_to_folder(systems.student_folder, folder, dtype=systems.dtype, base_model_name_or_path=base)
    if engine == VLLM:
        settings = ["--dtype", systems.dtype, "--max-model-len", "2048", "--no-enable-prefix-caching"]
        of_student = running(vllm_command(merged, "student", *settings, "--mm-processor-cache-gb", "0"), "student")
        of_bare = running(vllm_command(base, "bare", *settings), "bare")
    else:
        command = ["transformers_aura.cli.main", "serve", merged, "--engine", "transformers"]
        of_student = running(command, str(merged))
        of_bare = running(["transformers.cli.transformers", "serve", base, "--dtype", systems.dtype], str(base))
    student, bare = (Client(stack.enter_context(server)) for server in (of_student, of_bare))
    answers, count = requests.answer_settings(engine), len(requests.recordings)
    asks: dict[str, Ask] = {
        BARE: lambda number: bare.first_token(requests.written[number % count], answers),
        STUDENT: lambda number: student.first_token(requests.spoken[number % count], answers),
    }
    if systems.has_faster_whisper:
        whisper = Client(stack.enter_context(running(["benchmarks.faster_whisper_server"], "whisper")))

        def ask_pair(number: int) -> float:
            begun = time.perf_counter()
            question = f"{whisper.transcript(requests.files[number % count])}\n{ORDER_QUESTION}"
            return time.perf_counter() - begun + bare.first_token(question, answers)

        asks[FASTER_FLOAT32] = ask_pair
    return asks


@dataclass(frozen=True)
class Load:
    """How a system did: requests answered in a second, and seconds until the first token, the median and the 95th percentile."""

    requests_a_second: float
    median: float
    late: float


def load(ask: Ask, clients: int, count: int) -> Load:
    """So many requests, by clients that ask again as soon as they were answered."""
    begun = time.perf_counter()
    with ThreadPoolExecutor(clients) as threads:
        first_tokens = list(threads.map(ask, range(count)))
    seconds = time.perf_counter() - begun
    twentieths = statistics.quantiles(first_tokens, n=20, method="inclusive") if count > 1 else first_tokens
    return Load(count / seconds, statistics.median(first_tokens), twentieths[-1])


def _tables(engine: str, asks: Mapping[str, Ask], arguments: argparse.Namespace) -> list[Table]:
    """How many requests a second, and how soon a first token; the systems in turns, after a request that does not count."""
    throughput = Table(f"Requests a second, {engine}", "a second", "clients at once", BARE)
    median = Table(f"First token, median, {engine}", "s", "clients at once", BARE)
    late = Table(f"First token, 95th percentile, {engine}", "s", "clients at once", BARE)
    for ask in asks.values():
        ask(0)
    for clients in arguments.clients:
        count = max(clients, min(clients * arguments.requests, arguments.most))
        loads: dict[str, list[Load]] = {system: [] for system in asks}
        for number in range(arguments.rounds):
            systems = [*asks]
            for system in systems[number % len(asks) :] + systems[: number % len(asks)]:
                loads[system].append(load(asks[system], clients, count))
                print(f"{engine}, {clients} at once, {system}: {loads[system][-1]}", flush=True)
        throughput.add(
            clients, {system: [one.requests_a_second for one in of_one] for system, of_one in loads.items()}
        )
        median.add(clients, {system: [one.median for one in of_one] for system, of_one in loads.items()})
        late.add(clients, {system: [one.late for one in of_one] for system, of_one in loads.items()})
    return [throughput, median, late]


def _wave_file(recording: Recording) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, recording.waveform, SAMPLING_RATE, format="WAV", subtype="PCM_16")
    return file.getvalue()


def _text(tokenizer: Any, beginning: str, length: int) -> str:
    """Words that are so many tokens with the chat template around them."""

    def tokens(text: str) -> int:
        chat = [{"role": "user", "content": text}]
        return len(tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=True)["input_ids"])

    text = beginning
    while tokens(text) < length:
        text += " coffee"
    return text
