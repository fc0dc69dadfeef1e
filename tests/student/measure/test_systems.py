"""The systems on tiny models: what each is given, and what its answers depend on."""

import json

import numpy as np
import pytest
import torch
from transformers import (
    GenerationConfig,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperProcessor,
    set_seed,
)

from student.measure import systems
from student.measure.interface import Request
from student.measure.systems import (
    Cascade,
    GoldText,
    LanguageModel,
    Parser,
    Student,
    Transcriber,
    folder_identity,
    identity_hash,
)
from student.measure.text_ability import PROMPTS, compare_text_logits
from student.texts.orders import ORDER_QUESTION
from tests.support.tiny import tiny_processor, tone
from tests.support.tiny_models import save_tiny_language_model, tiny_student
from transformers_aura.processing.conversation import TRANSCRIPTION_INSTRUCTION


class FakeTranscriber:
    """Hears what is written down for a recording's length."""

    identity = {"weights": "fake"}

    def __init__(self, heard: dict[int, str]):
        self.heard = heard

    def transcribe(self, recordings):
        return [self.heard[len(samples)] for samples in recordings]


class FakeLanguageModel:
    """Repeats the message."""

    identity = {"weights": "fake"}

    def reply(self, messages):
        return [f"<{message}>" for message in messages]


def request(length: int, question: str | None, text: str | None = None) -> Request:
    return Request(np.zeros(length, np.float32), question, text)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return save_tiny_language_model(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def student_folder(base, tmp_path_factory):
    folder = tmp_path_factory.mktemp("student")
    tiny_student(base).save_pretrained(folder)
    tiny_processor().save_pretrained(folder)
    return folder


def test_cascade_puts_the_transcript_in_the_place_of_the_audio():
    cascade = Cascade(FakeTranscriber({1: "who is it", 2: "a mocha", 3: "ten of clubs", 4: ""}), FakeLanguageModel())
    answers = cascade.answer(
        [request(1, None), request(2, ORDER_QUESTION), request(3, TRANSCRIPTION_INSTRUCTION), request(4, "What?")]
    )
    assert answers == ["<who is it>", f"<a mocha\n{ORDER_QUESTION}>", "ten of clubs", "<What?>"]


def test_parser_answers_with_slots_or_the_transcript():
    heard = {
        1: "Can I get a small mocha, with soy milk?",
        2: "Can I get a small mocker?",
        3: "Get me an 8-ounce latte.",
    }
    answers = Parser(FakeTranscriber(heard)).answer([request(length, ORDER_QUESTION) for length in heard])
    assert json.loads(answers[0]) == {"coffeeDrink": "mocha", "size": "small", "milkAmount": "soy milk"}
    assert answers[1] == heard[2]
    assert json.loads(answers[2]) == {"coffeeDrink": "latte", "size": "eight ounce"}


def test_gold_reads_the_truth_alone():
    gold = GoldText(FakeLanguageModel())
    assert gold.answer([request(1, None, "Who is it?")]) == ["<Who is it?>"]
    with pytest.raises(ValueError, match=r"requests \[1\] are not known"):
        gold.answer([request(1, None, "Who?"), request(1, None)])


def test_student_answers_in_a_batch_as_alone(student_folder, base):
    student = Student(student_folder, base)
    requests = [
        Request(tone(0.6), None), Request(tone(0.4, 300), TRANSCRIPTION_INSTRUCTION), Request(tone(0.5, 900), ORDER_QUESTION),
    ]  # fmt: skip
    assert student.answer(requests) == [student.answer([item])[0] for item in requests]


def test_the_text_of_a_student_is_its_base(student_folder, base):
    found = compare_text_logits(Student(student_folder, base), LanguageModel(base))
    assert found == {
        "prompts": len(PROMPTS),
        "prompts_equal": len(PROMPTS),
        "largest_difference": 0,
        "dtype": "float32",
    }


def test_another_base_is_no_longer_equal(student_folder, base, tmp_path):
    other = LanguageModel(save_tiny_language_model(tmp_path, seed=1))
    found = compare_text_logits(Student(student_folder, base), other)
    assert found["prompts_equal"] == 0
    assert found["largest_difference"] > 0


def test_language_model_replies_alike_in_a_batch(base):
    model = LanguageModel(base)
    messages = ["Who?", "What is the longest river of all?"]
    assert model.reply(messages) == [model.reply([message])[0] for message in messages]


def test_identity_follows_weights_and_dtype(student_folder, base, tmp_path):
    first = folder_identity(base, torch.float32)
    assert identity_hash(first) == identity_hash(folder_identity(base, torch.float32))
    others = [folder_identity(base, torch.bfloat16), folder_identity(student_folder, torch.float32)]
    others.append(folder_identity(save_tiny_language_model(tmp_path / "other", seed=1), torch.float32))
    assert len({identity_hash(identity) for identity in (first, *others)}) == 4
    assert Student(student_folder, base).identity["base_weights"] == first["weights"]
    with pytest.raises(FileNotFoundError, match=r"holds no model\.safetensors"):
        folder_identity(tmp_path, torch.float32)


@pytest.fixture(scope="module")
def whisper(tmp_path_factory):
    """A random Whisper that says bytes."""
    from transformers import WhisperTokenizer

    folder = tmp_path_factory.mktemp("whisper")
    words = ["<|endoftext|>", "<|startoftranscript|>", "<|notimestamps|>", *"abcdefghijklmnop"]
    (folder / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = WhisperTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), unk_token="<|endoftext|>")
    set_seed(0)
    config = WhisperConfig(
        vocab_size=len(words), d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16, decoder_start_token_id=1, bos_token_id=0,
        eos_token_id=0, pad_token_id=0, max_target_positions=160,
        max_source_positions=50,
    )  # fmt: skip
    model = WhisperForConditionalGeneration(config)
    ends = {"eos_token_id": 0, "pad_token_id": 0, "bos_token_id": 0, "decoder_start_token_id": 1}
    model.generation_config = GenerationConfig(**ends, is_multilingual=False, no_timestamps_token_id=2, max_length=160)
    model.save_pretrained(folder)
    WhisperProcessor(WhisperFeatureExtractor(chunk_length=1), tokenizer).save_pretrained(folder)
    return folder


def test_transcriber_remembers(whisper, tmp_path, monkeypatch):
    monkeypatch.setattr(systems, "MAX_NEW_TOKENS", 8)
    recordings = [tone(0.5), tone(0.3, 300)]
    first = Transcriber(whisper, tmp_path).transcribe(recordings)
    assert len(first) == 2
    again = Transcriber(whisper, tmp_path)
    monkeypatch.setattr(again, "_transcribe", lambda recordings: pytest.fail("it was heard before"))
    assert again.transcribe(recordings[::-1]) == first[::-1]


def test_transcriber_refuses_what_it_would_cut(whisper, tmp_path):
    with pytest.raises(ValueError, match=r"30 s at once; a recording lasts 31\.0 s"):
        Transcriber(whisper, tmp_path).transcribe([np.zeros(31 * 16000, np.float32)])
