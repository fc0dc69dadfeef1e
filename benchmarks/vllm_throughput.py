"""Spoken requests in vLLM, beside written ones of as many tokens to the bare LLM in the same engine. Needs vLLM (`make test-vllm` installs it).

    python -m benchmarks.vllm_throughput --student FOLDER --base-model FOLDER

FOLDER is a student that vLLM serves, see docs/serving_vllm.md. So many requests arrive at once; every answer has as many tokens, whatever was said. What was
computed for an earlier round is not kept.
"""

import argparse
import os
from functools import partial
from typing import Any


os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")

from vllm import LLM, SamplingParams

from benchmarks.recordings import speech
from benchmarks.results import Table
from benchmarks.timing import time_in_turns
from benchmarks.without_speech import SAMPLING_RATE
from tools.real_models import real_model_folder
from transformers_aura import AuraProcessor, build_conversation


STUDENT, BARE = "student", "bare LLM"


def engine(model: str, arguments: argparse.Namespace) -> LLM:
    """Without anything that a later round would profit from."""
    return LLM(
        model,
        dtype=arguments.dtype,
        max_model_len=2048,
        enforce_eager=arguments.eager,
        enable_prefix_caching=False,
        mm_processor_cache_gb=0,
        disable_log_stats=True,
    )


def spoken_requests(processor: AuraProcessor, count: int, seconds: float) -> list[Any]:
    """Requests of vLLM, each with other speech."""
    samples = round(seconds * SAMPLING_RATE)
    together = speech(count * seconds)
    clips = [together[start : start + samples] for start in range(0, count * samples, samples)]
    prompt = processor.apply_chat_template(build_conversation(clips[0]), add_generation_prompt=True)
    return [{"prompt": prompt, "multi_modal_data": {"audio": (clip, SAMPLING_RATE)}} for clip in clips]


def written_requests(processor: AuraProcessor, spoken: list[Any]) -> list[Any]:
    """As many requests of as many tokens, each of other words."""
    requests = []
    for number, request in enumerate(spoken):
        clip, rate = request["multi_modal_data"]["audio"]
        length = processor(text=request["prompt"], audio=clip, sampling_rate=rate)["input_ids"]
        words = processor.tokenizer(f"Request {number}: " + "what is said in a recording, or so. " * 400)["input_ids"]
        requests.append({"prompt_token_ids": words[: len(length[0])]})
    return requests


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--student", required=True, help="folder or Hub id of a student that vLLM serves")
    parser.add_argument("--base-model", help="the bare LLM; default: the copy of `make real-models`")
    parser.add_argument("--requests", type=int, nargs="+", default=[1, 8, 32], help="that arrive at once")
    parser.add_argument("--length", type=float, default=3.0, help="seconds of each recording")
    parser.add_argument("--tokens", type=int, default=17, help="of each answer")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--eager", action="store_true", help="do not compile: starts sooner")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    processor = AuraProcessor.from_pretrained(arguments.student)
    base = arguments.base_model or str(real_model_folder("smollm2-135m-instruct"))
    engines = {STUDENT: engine(arguments.student, arguments), BARE: engine(base, arguments)}
    sampling = SamplingParams(temperature=0, max_tokens=arguments.tokens, ignore_eos=True)
    table = Table("Time until all requests are answered", "s", "requests at once", BARE)
    for count in arguments.requests:
        spoken = spoken_requests(processor, count, arguments.length)
        requests = {STUDENT: spoken, BARE: written_requests(processor, spoken)}
        runs = {name: partial(engines[name].generate, requests[name], sampling, use_tqdm=False) for name in engines}
        table.add(count, time_in_turns(runs, arguments.rounds))
        ratio = table.ratio(BARE, STUDENT, count)
        print(
            f"{count} requests at once: the student answers {ratio} times as many a second as the bare LLM", flush=True
        )
    print(table.to_markdown())


if __name__ == "__main__":
    main()
