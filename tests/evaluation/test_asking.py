import json
import logging

import numpy as np
import pytest
import soundfile

from tests.support.tiny import tone
from transformers_aura.evaluation.asking import EvaluationError, ask, can_be_asked
from transformers_aura.evaluation.conditions import Condition
from transformers_aura.evaluation.items import Item
from transformers_aura.evaluation.systems import Answer


class EchoSystem:
    """Answers with the length of the recording and what it is asked, and keeps count."""

    name = "echo"
    tasks = frozenset(["answer", "transcript"])
    needs_text = False
    identity = {"kind": "echo"}

    def __init__(self, breaks_on=()):
        self.batches = []
        self.breaks_on = set(breaks_on)

    def answer(self, requests):
        self.batches.append(len(requests))
        if any(len(request.waveform) in self.breaks_on for request in requests):
            raise RuntimeError("out of paper")
        assert len({request.question for request in requests}) == 1
        return [Answer(f"{len(request.waveform)} {request.question} {request.context}") for request in requests]


def items(count, **settings):
    return [
        Item(str(number), "answer", {"array": tone(0.1 + 0.01 * number), "sampling_rate": 16000}, ("x",), **settings)
        for number in range(count)
    ]


def test_every_item_is_answered_in_its_place_and_kept(tmp_path):
    system, path = EchoSystem(), tmp_path / "clean.jsonl"
    found = ask(system, items(10), Condition(), path, batch_size=4)
    assert list(found) == [str(number) for number in range(10)]
    assert [found[str(number)].answer for number in range(3)] == ["1600 None None", "1760 None None", "1920 None None"]
    assert found["9"].seconds == 0.19
    assert len(path.read_text().splitlines()) == 10
    assert system.batches == [4, 4, 2]


def test_a_killed_run_goes_on_where_it_was(tmp_path):
    path = tmp_path / "clean.jsonl"
    ask(EchoSystem(), items(10), Condition(), path, batch_size=4)
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:7]) + '{"name": "7", "in')
    system = EchoSystem()
    found = ask(system, items(10), Condition(), path, batch_size=4)
    assert system.batches == [3]
    assert len(found) == 10
    again = EchoSystem()
    ask(again, items(10), Condition(), path)
    assert again.batches == []


def test_what_went_in_otherwise_is_asked_again(tmp_path):
    path = tmp_path / "clean.jsonl"
    ask(EchoSystem(), items(3), Condition(), path)
    louder = EchoSystem()
    ask(louder, items(3), Condition.parse("gain:-6"), path)
    assert sum(louder.batches) == 3
    asked = EchoSystem()
    ask(asked, items(3, question="Who?"), Condition(), path)
    assert sum(asked.batches) == 3


def test_a_broken_recording_is_reported_and_the_others_are_answered(tmp_path):
    broken = tmp_path / "broken.wav"
    soundfile.write(broken, tone(0.2), 16000)
    broken.write_bytes(broken.read_bytes()[:200])
    bad = [
        Item("broken", "answer", str(broken), ("x",)),
        Item("missing", "answer", str(tmp_path / "missing.wav"), ("x",)),
        Item("nan", "answer", {"array": np.full(1600, np.nan, np.float32), "sampling_rate": 16000}, ("x",)),
    ]
    found = ask(EchoSystem(), [*bad, *items(3)], Condition(), tmp_path / "x.jsonl")
    assert len(found) == 6
    assert all(found[item.name].error.startswith("the recording cannot be read") for item in bad)
    assert all(found[item.name].answer == "" for item in bad)
    assert found["2"].error is None


def test_an_item_that_breaks_a_system_is_found_in_its_batch(tmp_path, caplog):
    caplog.set_level(logging.ERROR)
    found = ask(EchoSystem(breaks_on=[1760]), items(4), Condition(), tmp_path / "x.jsonl")
    assert found["1"].error == "RuntimeError: out of paper"
    assert [found[name].error for name in "023"] == [None] * 3
    mended = EchoSystem()
    assert ask(mended, items(4), Condition(), tmp_path / "x.jsonl")["1"].error is None
    assert mended.batches == [1], "what failed is tried again"


def test_a_system_that_answers_nothing_is_no_score(tmp_path):
    system = EchoSystem(breaks_on=range(100000))
    with pytest.raises(EvaluationError, match=r"echo failed on all of the first 3 items. .* out of paper"):
        ask(system, items(3), Condition(), tmp_path / "x.jsonl")


@pytest.mark.fault("evaluation")
@pytest.mark.parametrize("count", [1, 5])
def test_recordings_of_which_none_can_be_read_are_no_score(tmp_path, count):
    gone = [Item(f"gone-{n}", "answer", str(tmp_path / f"{n}.wav"), ("x",)) for n in range(count)]
    system = EchoSystem()
    with pytest.raises(
        EvaluationError, match=rf"None of the {count} recordings can be read. gone-0: .* no audio file"
    ):
        ask(system, gone, Condition(), tmp_path / "x.jsonl", batch_size=1)
    assert system.batches == []


def test_questions_do_not_share_a_batch(tmp_path):
    mixed = [*items(2, question="Who?"), *[Item(f"t{n}", "transcript", tone_dict(n), ("x",)) for n in range(2)]]
    system = EchoSystem()
    found = ask(system, mixed, Condition(), tmp_path / "x.jsonl")
    assert system.batches == [2, 2]
    assert found["t0"].answer.endswith("None None")  # each system has its own words that ask for a transcript


def tone_dict(number):
    return {"array": tone(0.2 + 0.01 * number), "sampling_rate": 16000}


def test_shuffled_items_hear_each_other(tmp_path):
    plain = ask(EchoSystem(), items(6), Condition(), tmp_path / "a.jsonl")
    shuffled = ask(EchoSystem(), items(6), Condition.parse("shuffled"), tmp_path / "b.jsonl")
    assert sorted(g.answer for g in shuffled.values()) == sorted(g.answer for g in plain.values())
    assert all(shuffled[name].answer != plain[name].answer for name in plain)


def test_who_can_be_asked_what():
    system = EchoSystem()
    assert can_be_asked(system, items(2))
    assert not can_be_asked(system, [Item("1", "slots", "a.wav", ("{}",))])
    system.needs_text = True
    assert not can_be_asked(system, items(2))
    assert can_be_asked(system, items(2, text="Who is it?"))


def test_kept_answers_are_plain_json(tmp_path):
    ask(EchoSystem(), items(1), Condition(), tmp_path / "x.jsonl")
    row = json.loads((tmp_path / "x.jsonl").read_text())
    assert set(row) == {"name", "input", "answer", "seconds", "confidence", "error"}
