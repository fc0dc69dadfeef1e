"""The packaged student in vLLM: its audio tokens see each other in blocks, those of vLLM do not, and it is right all the same."""

import json
from pathlib import Path

from benchmarks.levels import ORDER_QUESTION
from benchmarks.recordings import ORDERS
from tests_vllm.answers import from_vllm
from transformers_aura import AuraProcessor, load_audio
from transformers_aura.evaluation.scorers.interface import Reference
from transformers_aura.evaluation.scorers.slots import SlotAcceptance


NUM_TOKENS = 48
RIGHT_AT_LEAST = 0.98
COMPARED = 6


def test_orders_of_real_people(merged_real_student: Path) -> None:
    rows = [json.loads(line) for line in (ORDERS / "manifest.jsonl").read_text().splitlines()]
    clips = [load_audio(ORDERS / row["audio"]) for row in rows]
    answers, _ = from_vllm(merged_real_student, clips, ORDER_QUESTION, NUM_TOKENS, may_end=True)
    tokenizer, scorer = AuraProcessor.from_pretrained(merged_real_student).tokenizer, SlotAcceptance()
    right = [
        scorer.statistics(tokenizer.decode(answer, skip_special_tokens=True), Reference((json.dumps(row["slots"]),)))[
            0
        ]
        for answer, row in zip(answers, rows, strict=True)
    ]
    assert sum(right) / len(right) >= RIGHT_AT_LEAST, right
