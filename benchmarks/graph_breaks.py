"""Graph breaks of `torch.compile`, in prefill and in decoding with a static cache.

Counted by dynamo, in a student of the packaged one's layout with three layers, two of them with LoRA: where a graph breaks is in the code, not in the weights.
"""

import argparse
import copy
from collections.abc import Callable
from typing import Any

import torch
from transformers import StaticCache

from benchmarks.recordings import speech
from benchmarks.results import Result, Table
from benchmarks.systems import Systems
from transformers_aura import AuraConfig, AuraForSpeechQA
from transformers_aura.modeling.cache_argument import CACHE_ARGUMENT


UNMERGED = "student, LoRA beside the weights"
MERGED = "student, merged"


def measure(arguments: argparse.Namespace) -> Result:
    systems = Systems(arguments.student)
    config = AuraConfig.from_pretrained(systems.student_folder)
    model = AuraForSpeechQA(small(config)).eval()
    inputs = dict(systems.inputs([speech(3.0)]))
    table = Table("Graph breaks", "breaks", "pass", "")
    found = {name: breaks_of(student, inputs) for name, student in ((UNMERGED, model), (MERGED, model.merge()))}
    for case in ("prefill", "decoding"):
        table.add(case, {name: [counts[case]] for name, counts in found.items()})
    return Result("graph_breaks", is_counted=True, tables=[table])


def small(config: AuraConfig) -> AuraConfig:
    """The same with three layers and without heads for transcripts."""
    config = copy.deepcopy(config)
    config.text_config.num_hidden_layers, config.lora_num_layers = 3, 2
    config.subword_ctc_layer = config.character_ctc_alphabet = config.base_model = config.base_fingerprint = None
    return config


@torch.no_grad()
def breaks_of(model: AuraForSpeechQA, inputs: dict[str, Any]) -> dict[str, int]:
    """`prefill` of some inputs, and `decoding` of the token behind them."""
    length = inputs["input_ids"].shape[1]
    cache = StaticCache(config=model.config.text_config, max_cache_len=length + 8)
    positions = inputs["input_ids"] == model.config.audio_token_id
    prefill = _breaks(model, lambda compiled: compiled(**inputs, audio_positions=positions, **{CACHE_ARGUMENT: cache}))
    token = {"input_ids": torch.tensor([[5]]), "audio_rows": torch.tensor([True])}
    decoding = _breaks(model, lambda compiled: compiled(**token, **{CACHE_ARGUMENT: cache}))
    return {"prefill": prefill, "decoding": decoding}


def _breaks(model: AuraForSpeechQA, run: Callable[[Any], Any]) -> int:
    torch.compiler.reset()
    counters = torch._dynamo.utils.counters
    counters.clear()
    run(torch.compile(model, dynamic=False, backend="eager"))
    return sum(counters["graph_break"].values())
