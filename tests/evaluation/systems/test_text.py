import numpy as np
import pytest

from tests.evaluation.support import FakeTranscriber
from tests.support.tiny import tone
from transformers_aura.evaluation.systems import (
    Answer,
    Cascade,
    GoldText,
    Request,
    TextLanguageModel,
    Transcriber,
)
from transformers_aura.evaluation.systems import (
    text as text_systems,
)
from transformers_aura.evaluation.systems.text import _as_text
from transformers_aura.processing.conversation import build_conversation


class FakeReader:
    """Repeats its input."""

    identity = {"weights": "fake"}

    def reply(self, texts, requests):
        return [
            f"<{_as_text(text, request.question, request.context)[0]['content']}>"
            for text, request in zip(texts, requests, strict=True)
        ]


def request(length, task="answer", question=None, context=None, text=None):
    return Request(np.zeros(length, np.float32), task, question, context, text)


def test_the_cascade_puts_the_transcript_in_the_place_of_the_audio():
    cascade = Cascade(FakeTranscriber({1: "who is it", 2: "a mocha", 3: "ten of clubs"}), FakeReader())
    assert cascade.answer([request(1)]) == ["<who is it>"]
    assert cascade.answer([request(1, context="Ada.")]) == ["<Context: Ada.\nwho is it>"]
    assert cascade.answer([request(2, "slots", "What was ordered?")]) == ["<a mocha\nWhat was ordered?>"]
    assert cascade.answer([request(3, "transcript", "Transcribe the audio.")]) == [Answer("ten of clubs")]


@pytest.mark.parametrize(
    ("question", "context"), [(None, None), ("Who?", None), (None, "It is Ada."), ("Who?", "It is Ada.")]
)
def test_text_is_asked_about_in_the_words_of_a_recording(question, context):
    content = build_conversation({"array": np.zeros(4), "sampling_rate": 16000}, question, context)[0]["content"]
    texts = [part["text"] if part["type"] == "text" else "what is said" for part in content]
    assert _as_text("what is said", question, context) == [{"role": "user", "content": "\n".join(texts)}]


def test_gold_reads_the_truth_alone():
    gold = GoldText(FakeReader())
    assert gold.answer([request(1, text="Who is it?")]) == ["<Who is it?>"]
    with pytest.raises(ValueError, match="not known of 1 items"):
        gold.answer([request(1, text="Who?"), request(1)])


def test_the_reader_replies_alike_in_a_batch(base):
    reader = TextLanguageModel(str(base), dtype="float32")
    requests = [request(1), request(1)]
    texts = ["Who?", "What is the longest river of all?"]
    alone = [reader.reply([text], [one])[0] for text, one in zip(texts, requests, strict=True)]
    assert [answer.text for answer in reader.reply(texts, requests)] == [answer.text for answer in alone]


def test_the_transcriber_transcribes_a_recording_once(whisper, monkeypatch):
    monkeypatch.setitem(text_systems.MAX_NEW_TOKENS, "transcript", 8)
    transcriber = Transcriber(str(whisper))
    recordings = [tone(0.5), tone(0.3, 300)]
    first = transcriber.transcribe(recordings)
    monkeypatch.setattr(transcriber, "_generate", lambda waveforms: pytest.fail("it was transcribed before"))
    assert transcriber.transcribe(recordings[::-1]) == first[::-1]
