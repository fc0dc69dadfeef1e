"""Timing in turns, and what is printed of it."""

import json

from benchmarks.timing import Times, machine, machine_line, markdown_table, ratio, time_in_turns, write_result


def test_systems_take_turns_and_the_first_round_does_not_count(tmp_path):
    calls = []
    runs = {name: lambda clip, name=name: calls.append((name, clip)) for name in ("a", "b")}
    times = time_in_turns(runs, ["x", "y"], rounds=2)
    assert calls[:2] == [("a", "x"), ("b", "x")]  # not counted
    assert calls[2:] == [
        ("b", "x"),
        ("a", "x"),
        ("a", "y"),
        ("b", "y"),
        ("b", "x"),
        ("a", "x"),
        ("a", "y"),
        ("b", "y"),
    ]
    assert [len(rounds) for rounds in times["b"].seconds] == [2, 2]
    assert all(second >= 0 for rounds in times["b"].processor_seconds for second in rounds)
    write_result(tmp_path / "new" / "result.json", {"times": times, "ratio": ratio(_times(2), _times(1))})
    written = json.loads((tmp_path / "new" / "result.json").read_text())
    assert set(written["times"]) == {"a", "b"}
    assert written["ratio"] == {"median": 2.0, "least": 2.0, "most": 2.0}


def test_a_ratio_is_taken_clip_by_clip_of_the_medians_of_the_rounds():
    slow = Times([[3.0, 9.0, 3.0], [4.0, 4.0, 4.0], [10.0, 8.0, 9.0]], [])
    fast = Times([[1.0, 1.0, 1.0], [2.0, 2.0, 5.0], [9.0, 9.0, 9.0]], [])
    assert slow.by_clip == [3.0, 4.0, 9.0]
    assert slow.median == 4.0
    assert str(ratio(slow, fast)) == "2.00 (1.00 to 3.00)"


def test_the_machine_is_named():
    line = machine_line(machine("float32"))
    for part in ("float32", "torch 2.", "transformers "):
        assert part in line
    assert markdown_table(("system", "seconds"), [["a", "1"]]).splitlines() == [
        "| system | seconds |",
        "| --- | ---: |",
        "| a | 1 |",
    ]


def _times(seconds: float) -> Times:
    return Times([[seconds]], [[seconds]])
