"""The alternatives on real weights and real speech: they work, so what they are beaten by is worth something."""

import json

import numpy as np
import pytest

from aura_research.measure.parser import Parser
from aura_research.places import FIXTURES
from aura_research.texts.orders import ORDER_QUESTION
from tools.real_models import real_model_folder
from transformers_aura import AuraForSpeechQA, AuraProcessor, load_audio
from transformers_aura.evaluation.scorers import Containment, Normalizer, Reference, SlotAcceptance
from transformers_aura.evaluation.systems import (
    AuraSystem,
    Cascade,
    GoldText,
    Request,
    TextLanguageModel,
    Transcriber,
    interface,
)
from transformers_aura.evaluation.text_ability import compare_text_logits
from transformers_aura.processing.conversation import TRANSCRIPTION_INSTRUCTION


pytestmark = pytest.mark.slow

SPEECH = FIXTURES.parent
CLIPS = [json.loads(line) for line in (SPEECH / "manifest.jsonl").read_text().splitlines()][:2]


@pytest.fixture(scope="module")
def folders():
    try:
        return real_model_folder("smollm2-135m-instruct"), real_model_folder("whisper-tiny.en")
    except FileNotFoundError as error:
        pytest.skip(str(error))


def test_whisper_and_the_parser_understand_orders(folders):
    transcriber = Transcriber(str(folders[1]))
    waveforms = [load_audio(SPEECH / clip["audio"]) for clip in CLIPS]
    answers = Parser(transcriber).answer([Request(waveform, "slots", ORDER_QUESTION) for waveform in waveforms])
    for answer, clip in zip(answers, CLIPS, strict=True):
        assert SlotAcceptance(strict=True).statistics(answer.text, Reference((json.dumps(clip["slots"]),))) == (
            1.0,
            1.0,
        )
    asked = [Request(waveform, "transcript", TRANSCRIPTION_INSTRUCTION) for waveform in waveforms]
    heard = Cascade(transcriber, TextLanguageModel(str(folders[0]), dtype="float32")).answer(asked)
    normalize = Normalizer()
    assert [normalize(answer.text) for answer in heard] == [normalize(clip["transcript"]) for clip in CLIPS]


def test_whisper_hears_more_than_its_window(folders):
    clip = load_audio(SPEECH / CLIPS[0]["audio"])
    repeated = np.concatenate([np.pad(clip, (0, 8000))] * (1 + 35 * 16000 // len(clip)))
    assert len(repeated) > 30 * 16000
    (heard,) = Transcriber(str(folders[1])).transcribe([repeated])
    last_word = CLIPS[0]["transcript"].split()[-1]
    assert heard.lower().count(last_word) >= 5


def test_the_llm_reads_a_question(folders, monkeypatch):
    monkeypatch.setitem(interface.MAX_NEW_TOKENS, "answer", 12)
    waveform = load_audio(SPEECH / CLIPS[0]["audio"])
    request = Request(waveform, "answer", text="What is the capital of France?")
    (answer,) = GoldText(TextLanguageModel(str(folders[0]), dtype="float32")).answer([request])
    assert Containment().statistics(answer.text, Reference(("Paris",))) == (1.0, 1.0)


def test_a_student_of_the_real_llm_keeps_its_text(folders, tmp_path):
    AuraForSpeechQA.from_language_model_pretrained(folders[0], lora_rank=4).save_pretrained(tmp_path)
    AuraProcessor.from_language_model_pretrained(folders[0]).save_pretrained(tmp_path)
    student = AuraSystem(str(tmp_path), base_model=str(folders[0]), dtype="float32")
    found = compare_text_logits(student, TextLanguageModel(str(folders[0]), dtype="float32"))
    assert found["prompts_equal"] == found["prompts"]
