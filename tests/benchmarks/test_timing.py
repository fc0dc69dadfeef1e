"""Systems in turns."""

import time

from benchmarks.timing import machine, time_in_turns


def test_systems_take_turns_and_the_first_round_does_not_count():
    calls = []
    runs = {name: lambda name=name: calls.append(name) for name in ("a", "b")}
    times = time_in_turns(runs, rounds=2)
    assert calls == ["a", "b", "a", "b", "b", "a"]
    assert [len(rounds) for rounds in times.values()] == [2, 2]
    assert all(seconds >= 0 for rounds in times.values() for seconds in rounds)


def test_after_three_rounds_no_other_begins_when_the_time_is_up():
    assert len(time_in_turns({"a": lambda: time.sleep(0.001)}, rounds=50, seconds=0)["a"]) == 3


def test_the_clock_of_the_processor_does_not_count_waiting():
    waiting = {"a": lambda: time.sleep(0.05)}
    assert time_in_turns(waiting, 1, clock="wall")["a"][0] >= 0.05
    assert time_in_turns(waiting, 1, clock="processor")["a"][0] < 0.05


def test_the_machine_is_named():
    described = machine()
    assert described["accelerator"] is None
    assert described["torch"].startswith("2.")
    assert described["processor"]
