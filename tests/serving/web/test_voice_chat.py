"""A visitor's chat: what a browser sends, answered as a stream answers it."""

import itertools
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soxr

from tests.support.tiny_models import babble, quiet, tiny_student, tiny_transcriber
from transformers_aura import AuraForSpeechQA, AuraProcessor
from transformers_aura.decoding.alphabet import LATIN_ALPHABET
from transformers_aura.decoding.speech_detection import NOTHING_HEARD
from transformers_aura.serving.web.voice_chat import Reply, VoiceChat


RATE = 48_000


def browser_sound(seconds: float, seed: int = 0) -> np.ndarray:
    """As a browser records it: 48 kHz, 16 bits."""
    return (soxr.resample(babble(seconds, seed)["array"], 16_000, RATE) * 32767).astype(np.int16)


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> tuple[AuraForSpeechQA, AuraProcessor]:
    folder = tmp_path_factory.mktemp("student")
    return tiny_transcriber(folder), AuraProcessor.from_pretrained(folder / "student")


def chat_with(student: tuple[AuraForSpeechQA, AuraProcessor], **settings: float) -> VoiceChat:
    return VoiceChat(*student, **{"max_seconds": 30.0, "max_new_tokens": 12, **settings})


def talk(chat: VoiceChat, sound: np.ndarray, question: str | None = None) -> Reply:
    for start in range(0, len(sound), RATE // 2):
        chat.hear(sound[start : start + RATE // 2], RATE)
    return list(chat.reply(question))[-1]


@pytest.mark.parametrize("answer_from", ["audio", "transcript"])
def test_a_reply_is_what_a_stream_answers(student: tuple[AuraForSpeechQA, AuraProcessor], answer_from: str) -> None:
    model, processor = student
    sound = browser_sound(2.0)
    chat = chat_with(student)
    chat.begin(answer_from)
    reply = talk(chat, sound, "What?")
    stream = model.stream(processor, answer_from=answer_from)
    stream.feed(soxr.resample((sound / 32768).astype(np.float32), RATE, 16_000))
    expected = stream.answer("What?", max_new_tokens=12)
    assert reply.text == expected.text
    assert reply.num_tokens == len(expected.token_ids)
    assert 0 < reply.seconds_to_first_token <= reply.seconds
    assert reply.said
    if answer_from == "transcript":
        assert reply.said == expected.transcript
    follow_up = list(chat.reply("And?"))[-1]
    assert follow_up.said is None
    assert follow_up.text == stream.answer("And?", max_new_tokens=12).text


def test_what_comes_meanwhile(student: tuple[AuraForSpeechQA, AuraProcessor]) -> None:
    chat = chat_with(student)
    assert (chat.seconds, chat.captions(), len(chat.features())) == (0.0, "", 0)
    sound = browser_sound(2.0)
    chat.hear(sound[:RATE], RATE)
    first = chat.captions()
    assert first
    assert len(chat.features()) == pytest.approx(100, abs=3)
    chat.hear(sound[RATE:], RATE)
    assert len(chat.captions()) > len(first)
    replies = list(chat.reply(None))
    texts = [reply.text for reply in replies]
    assert len(texts) > 2
    assert all(later.startswith(sooner.strip()) for sooner, later in itertools.pairwise(texts))
    assert (chat.seconds, len(chat.features())) == (0.0, 0)


def test_two_chats_at_once_do_not_mix(student: tuple[AuraForSpeechQA, AuraProcessor]) -> None:
    sounds = [browser_sound(2.0, seed) for seed in (1, 2)]
    alone = [talk(chat_with(student), sound).text for sound in sounds]
    assert alone[0] != alone[1]
    barrier = threading.Barrier(2)

    def in_company(sound: np.ndarray) -> list[str]:
        chat = chat_with(student)
        barrier.wait()
        first = talk(chat, sound).text
        chat.begin("audio")
        return [first, talk(chat, sound).text]

    with ThreadPoolExecutor(2) as workers:
        together = list(workers.map(in_company, sounds))
    assert together == [[text, text] for text in alone]


def test_a_recording_may_be_so_long(student: tuple[AuraForSpeechQA, AuraProcessor]) -> None:
    sound = browser_sound(3.0)
    chat = chat_with(student, max_seconds=1.0)
    for start in range(0, len(sound), RATE // 2):
        chat.hear(sound[start : start + RATE // 2], RATE)
    assert chat.is_full
    assert chat.seconds == 1.0
    assert len(chat.features()) == 100
    assert "first 1 s" in list(chat.reply(None))[-1].note
    assert not chat.is_full


def test_a_chat_may_be_so_long(tmp_path: Path) -> None:
    model = tiny_student(tmp_path / "base", character_ctc_alphabet=LATIN_ALPHABET)
    model.config.text_config.max_position_embeddings = 64
    chat = chat_with((model, AuraProcessor.from_language_model_pretrained(tmp_path / "base")))
    for _ in range(10):
        chat.hear(browser_sound(1.0), RATE)
    assert chat.is_full
    assert 1 < chat.seconds < 9
    reply = list(chat.reply(None))[-1]
    assert reply.text
    assert "Begin a new one" in reply.note


def test_of_silence_nothing_is_made_up(student: tuple[AuraForSpeechQA, AuraProcessor]) -> None:
    chat = chat_with(student)
    chat.hear(quiet(1.0)["array"], 16_000)
    reply = list(chat.reply(None))[-1]
    assert reply.text == NOTHING_HEARD
    assert reply.seconds_to_first_token is None


def test_without_anything_there_is_nothing_to_answer(student: tuple[AuraForSpeechQA, AuraProcessor]) -> None:
    with pytest.raises(ValueError, match="Nothing to answer"):
        list(chat_with(student).reply(" "))


def test_an_answer_ends_when_its_reader_goes(student: tuple[AuraForSpeechQA, AuraProcessor]) -> None:
    chat = chat_with(student, max_new_tokens=2000)
    replies = chat.reply("Tell me everything.")
    next(replies)
    replies.close()  # returns once the answer has ended
    started = time.monotonic()
    next(chat.reply("And?"))
    assert time.monotonic() - started < 5.0


def test_a_student_without_captions(tmp_path: Path) -> None:
    model = tiny_student(tmp_path / "base")
    chat = chat_with((model, AuraProcessor.from_language_model_pretrained(tmp_path / "base")))
    reply = talk(chat, browser_sound(1.0))
    assert chat.captions() is None
    assert reply.said is None
    assert reply.text
