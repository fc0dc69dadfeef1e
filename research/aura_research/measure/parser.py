"""Whisper, then the strict grammar of orders: what somebody would build who needs nothing but orders."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from aura_research.texts import orders
from tools.packages import sha256_of
from transformers_aura.evaluation.items import Task
from transformers_aura.evaluation.systems import Answer, Request, Transcriber


SPELLED = {"8": "eight", "12": "twelve", "16": "sixteen", "20": "twenty"}
"""The numbers that an order may hold."""


@dataclass
class Parser:
    """What is not an order of the grammar stays the transcript, and counts as wrong.

    Sizes that Whisper writes in digits are spelled out first, as the grammar has them: `"12-ounce"` is no mishearing.
    """

    transcriber: Transcriber
    name: str = "parser"
    tasks: frozenset[Task] = frozenset(["slots"])
    needs_text: bool = False

    @cached_property
    def _grammar(self) -> orders.OrderGrammar:
        return orders.OrderGrammar()

    @property
    def identity(self) -> dict[str, Any]:
        sources = [Path(orders.__file__), orders.GRAMMAR]
        return {
            "kind": "parser",
            "whisper": self.transcriber.identity,
            "grammar": [sha256_of(path) for path in sources],
            "spelled": SPELLED,
        }

    def answer(self, requests: Sequence[Request]) -> list[Answer]:
        return [
            Answer(self._parse(text))
            for text in self.transcriber.transcribe([request.waveform for request in requests])
        ]

    def _parse(self, transcript: str) -> str:
        spelled_out = re.sub(r"\d+", lambda match: SPELLED.get(match[0], match[0]), transcript)
        slots = self._grammar.parse(spelled_out)
        return transcript if slots is None else json.dumps(slots)
