"""The load test, on tiny students: what clients send, and servers of transformers that are asked by two clients at once."""

import threading
import time

import pytest
from transformers import AutoTokenizer

from benchmarks import serving_load, systems
from benchmarks.recordings import ORDERS, read_recordings
from benchmarks.serving_load import BARE, STUDENT, Requests, load
from tests.benchmarks.support import tiny_arguments


def test_the_llm_alone_reads_as_many_tokens(tmp_path, monkeypatch):
    arguments = tiny_arguments(tmp_path, monkeypatch)
    requests = Requests(systems.Systems(arguments.student, arguments.base_model), read_recordings(ORDERS)[:3], 4)
    tokenizer = AutoTokenizer.from_pretrained(arguments.base_model)
    chats = [[{"role": "user", "content": text}] for text in requests.written]
    lengths = [
        len(tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=True)["input_ids"])
        for chat in chats
    ]
    # A word has seven tokens here, and one in a real vocabulary.
    assert all(wanted <= length < wanted + 7 for length, wanted in zip(lengths, requests.lengths, strict=True))
    assert len(set(requests.written)) == 3


def test_so_many_clients_ask_at_once():
    at_once, most, lock = 0, 0, threading.Lock()

    def ask(number):
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        time.sleep(0.02)
        with lock:
            at_once -= 1
        return float(number)

    found = load(ask, 4, 21)
    assert most == 4
    assert found.median == 10
    assert found.late == 19
    assert 20 < found.requests_a_second < 4 / 0.02


@pytest.mark.slow
def test_every_system_is_served_and_asked(tmp_path, monkeypatch):
    pytest.importorskip("openai", reason="the extra `serving` is not installed (`make test-serving` installs it)")
    pytest.importorskip("multipart", reason="the extra `serving` is not installed (`make test-serving` installs it)")
    own = {"engine": ["transformers"], "clients": [1, 2], "requests": 2, "most": 3, "tokens": 4}
    arguments = tiny_arguments(tmp_path, monkeypatch, **own)
    result = serving_load.measure(arguments)
    assert len(result.tables) == 3
    for table in result.tables:
        assert set(table.values) == {BARE, STUDENT}  # faster-whisper has no tiny model
        assert table.case_names == ["1", "2"]
        assert all(table.median(system, case) > 0 for system in table.values for case in (1, 2))
