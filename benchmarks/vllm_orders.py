"""Orders of real people answered in vLLM and in transformers: how many are right, and how many answers are the same. Needs vLLM.

    python -m benchmarks.vllm_orders --student FOLDER --orders FOLDER

FOLDER is a merged student (docs/serving_vllm.md). In transformers it answers twice: as it was trained, its audio tokens seeing each other in blocks, and
with causal attention, which is vLLM's. Without `--orders`: the recordings that come with the repository.
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any


os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")

import torch
from tqdm.auto import tqdm
from vllm import LLM, SamplingParams

from benchmarks.levels import ORDER_QUESTION, Order, read_orders
from benchmarks.recordings import ORDERS
from benchmarks.without_speech import SAMPLING_RATE
from transformers_aura import AuraForSpeechQA, AuraProcessor, build_conversation
from transformers_aura.evaluation.scorers.interface import Reference
from transformers_aura.evaluation.scorers.slots import SlotAcceptance
from transformers_aura.evaluation.statistics import wilson_interval


NUM_TOKENS = 60


def answers_of_vllm(student: str, orders: Sequence[Order], dtype: str) -> list[str]:
    """All of them at once."""
    processor = AuraProcessor.from_pretrained(student)
    engine = LLM(student, dtype=dtype, max_model_len=2048, enforce_eager=True, disable_log_stats=True)
    requests: list[Any] = [
        {
            "prompt": processor.apply_chat_template(
                build_conversation(order.waveform, ORDER_QUESTION), add_generation_prompt=True
            ),
            "multi_modal_data": {"audio": (order.waveform, SAMPLING_RATE)},
        }
        for order in orders
    ]
    outputs = engine.generate(requests, SamplingParams(temperature=0, max_tokens=NUM_TOKENS))
    return [output.outputs[0].text for output in outputs]


@torch.inference_mode()
def answers_of_transformers(student: str, orders: Sequence[Order], dtype: str, causal: bool) -> list[str]:
    """One by one. `causal`: audio tokens see only those before them."""
    model, processor = AuraForSpeechQA.from_pretrained(student, dtype=dtype), AuraProcessor.from_pretrained(student)
    if causal:  # what the patch embedding sees was settled when it was made
        model.config.audio_config.tokens_per_block = 1
    answers = []
    for order in tqdm(orders, leave=False):
        inputs = processor.apply_chat_template(
            build_conversation({"array": order.waveform, "sampling_rate": SAMPLING_RATE}, ORDER_QUESTION),
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        )
        tokens = model.generate(**inputs, max_new_tokens=NUM_TOKENS, do_sample=False)
        answers.append(processor.tokenizer.decode(tokens[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))
    return answers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--student", required=True, help="folder of a merged student")
    parser.add_argument("--orders", type=Path, default=ORDERS, help="folder of the recordings")
    parser.add_argument("--dtype", default="float32")
    arguments = parser.parse_args()
    orders = read_orders(arguments.orders)
    scorer = SlotAcceptance()
    of_vllm = answers_of_vllm(arguments.student, orders, arguments.dtype)
    for name in ("vLLM", "transformers, causal", "transformers"):
        answers = of_vllm
        if name != "vLLM":
            answers = answers_of_transformers(arguments.student, orders, arguments.dtype, causal="causal" in name)
        pairs = list(zip(answers, orders, strict=True))
        right = sum(scorer.statistics(answer, Reference((order.slots,)))[0] > 0 for answer, order in pairs)
        interval = wilson_interval(right, len(orders))
        print(
            f"{name}: {right} of {len(orders)} orders right ({interval.low:.1%} to {interval.high:.1%}); "
            f"{sum(map(str.__eq__, answers, of_vllm))} answers as in vLLM",
            flush=True,
        )


if __name__ == "__main__":
    main()
