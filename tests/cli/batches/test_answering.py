"""Every input gets its row, whatever becomes of it; batches hold recordings of about the same length."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile
import typer

from tests.support.tiny import tone
from transformers_aura.cli.batches import answering
from transformers_aura.cli.batches.answering import Request, answer_inputs, batches_of, run_batch
from transformers_aura.cli.batches.inputs import Inputs, find_inputs
from transformers_aura.cli.batches.outputs import JsonLines, Row
from transformers_aura.cli.batches.sources import BatchInput


class Kept:
    """An output in memory."""

    def __init__(self) -> None:
        self.done: set[str] = set()
        self.rows: dict[int, Row] = {}

    def add(self, position: int, row: Row) -> None:
        assert position not in self.rows
        self.rows[position] = row


class Engine:
    """Answers with the length of the recording, and refuses those of given lengths."""

    def __init__(self, *refused: float) -> None:
        self.refused = refused
        self.batches: list[list[float]] = []

    def __call__(self, requests: Sequence[Request]) -> list[dict]:
        seconds = [round(request.seconds, 1) for request in requests]
        self.batches.append(seconds)
        for length in seconds:
            if length in self.refused:
                raise RuntimeError(f"out of memory at {length} s" if len(seconds) > 1 else f"{length} s are too long")
        return [{"answer": str(length)} for length in seconds]


def recordings(folder: Path, *lengths: float) -> Inputs:
    for number, seconds in enumerate(lengths):
        soundfile.write(folder / f"{number:02d}.wav", tone(seconds), 16_000)
    return find_inputs([str(folder)])


def request(seconds: float) -> Request:
    return Request(0, BatchInput("a", None), np.zeros(round(16_000 * seconds), np.float32))


def test_every_input_has_one_row_and_windows_are_sorted_by_length(tmp_path: Path) -> None:
    lengths = [0.5, 0.1, 0.4, 0.2, 0.3] * 4
    kept, engine = Kept(), Engine()
    assert answer_inputs(recordings(tmp_path, *lengths), kept, engine, batch_size=2) == []
    assert [kept.rows[position]["answer"] for position in range(20)] == list(map(str, lengths))
    assert [kept.rows[position]["name"] for position in range(20)] == [
        str(tmp_path / f"{number:02d}.wav") for number in range(20)
    ]
    first_window = sorted(lengths[: 2 * answering.BATCHES_IN_WINDOW])
    assert [length for batch in engine.batches for length in batch][: len(first_window)] == first_window
    assert {len(batch) for batch in engine.batches} == {2}


@pytest.mark.fault("requests")
def test_one_that_is_refused_and_one_that_is_broken_cost_no_other(tmp_path: Path) -> None:
    inputs = recordings(tmp_path, 0.1, 0.2, 0.3, 0.4)
    (tmp_path / "02.wav").write_bytes(b"RIFF no more")
    kept, engine = Kept(), Engine(0.2)
    failed = dict(answer_inputs(inputs, kept, engine, batch_size=4))
    assert failed.keys() == {str(tmp_path / "01.wav"), str(tmp_path / "02.wav")}
    assert failed[str(tmp_path / "01.wav")] == "0.2 s are too long"
    assert "02.wav" in failed[str(tmp_path / "02.wav")]
    assert [("error" in kept.rows[position]) for position in range(4)] == [False, True, True, False]
    assert engine.batches == [[0.1, 0.2, 0.4], [0.1], [0.2, 0.4], [0.2], [0.4]]


@pytest.mark.fault("requests")
def test_a_fault_of_the_run_ends_it(tmp_path: Path) -> None:
    inputs = recordings(tmp_path, *[0.1] * 20)
    with pytest.raises(RuntimeError, match="All of the first 8 recordings failed: no heads"):
        answer_inputs(inputs, Kept(), lambda requests: 1 / 0 if not requests else _refuse(), batch_size=4)


def _refuse() -> list[dict]:
    raise ValueError("no heads")


def test_what_is_done_is_not_asked_and_nothing_is_loaded_for_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inputs = recordings(tmp_path, 0.1, 0.2)
    output = JsonLines(tmp_path / "rows.jsonl")
    output.add(0, {"name": inputs.names[0], "answer": "before"})
    engine = Engine()

    class Entered:
        def __enter__(self) -> JsonLines:
            return output

        def __exit__(self, *error: object) -> None: ...

    run_batch(inputs, Entered(), lambda: engine, batch_size=4)  # type: ignore[arg-type]
    assert engine.batches == [[0.2]]
    assert "1 of 2 recordings are done already" in capsys.readouterr().err
    run_batch(inputs, Entered(), lambda: pytest.fail("loaded for nothing"), batch_size=4)  # type: ignore[arg-type]
    with pytest.raises(typer.Exit) as ended:
        run_batch(find_inputs(["missing.wav"]), Entered(), lambda: engine, batch_size=4)  # type: ignore[arg-type]
    assert ended.value.exit_code == 1
    err = capsys.readouterr().err
    assert "error: 1 of 1 recordings failed:\n  missing.wav: There is no audio file 'missing.wav'" in err


def test_of_long_recordings_fewer_are_in_a_batch() -> None:
    found = list(batches_of([request(seconds) for seconds in (60, 1, 30, 600, 30, 30, 30, 2, 60, 60)], batch_size=4))
    assert [[each.seconds for each in batch] for batch in found] == [[1, 2, 30, 30], [30, 30], [60, 60], [60], [600]]
