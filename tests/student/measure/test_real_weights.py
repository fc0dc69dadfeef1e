"""The alternatives on real weights and real speech: they work, so what they are beaten by is worth something."""

import json
from pathlib import Path

import pytest

from student.measure import systems
from student.measure.interface import Request
from student.measure.scores import Normalizer, contains_answer, score_order
from student.measure.systems import Cascade, GoldText, LanguageModel, Parser, Student, Transcriber
from student.measure.text_ability import compare_text_logits
from student.recordings import read_speech
from student.texts.orders import ORDER_QUESTION
from tools.real_models import real_model_folder
from transformers_aura import AuraForSpeechQA, AuraProcessor
from transformers_aura.processing.conversation import TRANSCRIPTION_INSTRUCTION


pytestmark = pytest.mark.slow

SPEECH = Path(__file__).parents[2] / "fixtures" / "speech"
CLIPS = [json.loads(line) for line in (SPEECH / "manifest.jsonl").read_text().splitlines()][:2]


@pytest.fixture(scope="module")
def folders():
    try:
        return real_model_folder("smollm2-135m-instruct"), real_model_folder("whisper-tiny.en")
    except FileNotFoundError as error:
        pytest.skip(str(error))


def test_whisper_and_the_parser_understand_orders(folders, tmp_path):
    transcriber = Transcriber(folders[1], tmp_path)
    requests = [Request(read_speech(SPEECH / clip["audio"]), ORDER_QUESTION) for clip in CLIPS]
    answers = Parser(transcriber).answer(requests)
    assert all(score_order(answer, clip["slots"]).strict for answer, clip in zip(answers, CLIPS, strict=True)), answers
    asked = [Request(request.samples, TRANSCRIPTION_INSTRUCTION) for request in requests]
    normalize = Normalizer(folders[1])
    heard = Cascade(transcriber, LanguageModel(folders[0])).answer(asked)
    assert [normalize(text) for text in heard] == [normalize(clip["transcript"]) for clip in CLIPS]


def test_the_llm_reads_a_question(folders, monkeypatch):
    monkeypatch.setattr(systems, "MAX_NEW_TOKENS", 12)
    model = LanguageModel(folders[0])
    (answer,) = GoldText(model).answer(
        [Request(read_speech(SPEECH / CLIPS[0]["audio"]), None, "What is the capital of France?")]
    )
    assert contains_answer(answer, ["Paris"], 1, Normalizer())


def test_a_student_of_the_real_llm_keeps_its_text(folders, tmp_path):
    AuraForSpeechQA.from_language_model_pretrained(folders[0], lora_rank=4).save_pretrained(tmp_path)
    AuraProcessor.from_language_model_pretrained(folders[0]).save_pretrained(tmp_path)
    found = compare_text_logits(Student(tmp_path, folders[0]), LanguageModel(folders[0]))
    assert found["prompts_equal"] == found["prompts"]
