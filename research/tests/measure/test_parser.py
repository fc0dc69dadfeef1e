"""Whisper and the grammar of orders."""

import json

import numpy as np

from aura_research.measure.parser import Parser
from aura_research.texts.orders import ORDER_QUESTION
from tests.evaluation.support import FakeTranscriber
from transformers_aura.evaluation.systems import Request


def test_slots_or_the_transcript():
    transcripts = {
        1: "Can I get a small mocha, with soy milk?",
        2: "Can I get a small mocker?",
        3: "Get me an 8-ounce latte.",
    }
    parser = Parser(FakeTranscriber(transcripts))
    requests = [Request(np.zeros(n, np.float32), "slots", ORDER_QUESTION) for n in transcripts]
    answers = [answer.text for answer in parser.answer(requests)]
    assert json.loads(answers[0]) == {"coffeeDrink": "mocha", "size": "small", "milkAmount": "soy milk"}
    assert answers[1] == transcripts[2]
    assert json.loads(answers[2]) == {"coffeeDrink": "latte", "size": "eight ounce"}
    assert json.dumps(parser.identity)
