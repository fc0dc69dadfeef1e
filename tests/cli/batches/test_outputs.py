"""Rows of a run: kept as they come, gone on with after a kill, never mixed with those of other settings."""

import json
import sys
from pathlib import Path

import pyarrow.parquet
import pytest

from transformers_aura.cli.batches.outputs import FilePerRow, OutputError, PrintedRows, resumable_rows
from transformers_aura.extras import MissingExtraError
from transformers_aura.folder_lock import FolderInUseError


SETTINGS = {"question": "Q", "shard": None}
COLUMNS = {"name": str, "answer": str, "heard": bool, "words": [{"text": str, "start": float}], "error": str}
FILES = pytest.mark.parametrize("name", ["rows.jsonl", "rows.parquet"])


def row(name: str, **values: object) -> dict:
    return {"name": name, "answer": f"of {name}", **values}


def rows_in(path: Path) -> list[dict]:
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    rows = pyarrow.parquet.read_table(path).to_pylist()
    return [{name: value for name, value in row.items() if value is not None} for row in rows]


class Killed(BaseException):
    """What no code below catches."""


@FILES
def test_a_run_that_was_stopped_goes_on_without_what_it_left_half_done(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    unfinished = path if name == "rows.jsonl" else tmp_path / f"{name}.run" / "rows.jsonl"
    words = [{"text": "w", "start": 0.5}]
    with pytest.raises(Killed), resumable_rows(path, SETTINGS, COLUMNS) as rows:
        rows.add(0, row("a", heard=True, words=words))
        rows.add(1, {"name": "bad", "error": "broken"})
        raise Killed
    with unfinished.open("a") as file:
        file.write('{"name": "half", "answ')
    with resumable_rows(path, SETTINGS, COLUMNS) as rows:
        assert rows.done == {"a"}
        rows.add(0, row("bad", heard=False))
        rows.add(1, {"name": "half", "error": "broken"})
    assert rows_in(path) == [
        row("a", heard=True, words=words), row("bad", heard=False), {"name": "half", "error": "broken"}
    ]  # fmt: skip
    with resumable_rows(
        path, SETTINGS, COLUMNS
    ) as rows:  # what failed is tried again in a run that was not stopped, too
        assert rows.done == {"a", "bad"}
        rows.add(0, row("half"))
    assert [each["name"] for each in rows_in(path)] == ["a", "bad", "half"]
    assert {file.name for file in tmp_path.iterdir()} == {name, f"{name}.run"}


@FILES
def test_other_settings_are_an_error_that_says_which(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with resumable_rows(path, SETTINGS, COLUMNS) as rows:
        rows.add(0, row("a"))
    before = path.read_bytes()
    for settings, said in (
        ({**SETTINGS, "question": "R"}, 'question was "Q", now "R"'),
        ({"question": "Q"}, None),  # what is not given is null
        ({**SETTINGS, "seed": 1}, "seed was null, now 1"),
    ):
        if said is None:
            with resumable_rows(path, settings, COLUMNS):
                continue
        with pytest.raises(OutputError, match=said), resumable_rows(path, settings, COLUMNS):
            pass
    assert rows_in(path) == [row("a")]
    if name == "rows.jsonl":
        assert path.read_bytes() == before
    path.unlink()
    with resumable_rows(path, {"question": "R"}, COLUMNS) as rows:  # nothing is left that it could be mixed with
        assert rows.done == set()


def test_one_run_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    with (
        resumable_rows(path, SETTINGS, COLUMNS),
        pytest.raises(FolderInUseError, match=r"a batch \(process"),
        resumable_rows(path, SETTINGS, COLUMNS),
    ):
        pass


@pytest.mark.fault("resume")
def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("a diary\n")
    with pytest.raises(OutputError, match="is there already"), resumable_rows(path, SETTINGS, COLUMNS):
        pass
    assert path.read_text() == "a diary\n"
    other = tmp_path / "other.jsonl"
    with resumable_rows(other, SETTINGS, COLUMNS):
        pass
    for damage in ("a diary\n", "[]\n", '{"name": 5}\n'):
        other.write_text(damage)
        with pytest.raises(OutputError, match="line 1 is no row of a batch"), resumable_rows(other, SETTINGS, COLUMNS):
            pass
    (tmp_path / "other.jsonl.run" / "settings.json").write_text("[")
    with pytest.raises(OutputError, match=r"settings\.json cannot be read"), resumable_rows(other, SETTINGS, COLUMNS):
        pass


@FILES
def test_a_name_that_is_no_utf8_is_kept(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    latin = b"caf\xe9.wav".decode("utf-8", "surrogateescape")
    with resumable_rows(path, SETTINGS, COLUMNS) as rows:
        rows.add(0, row(latin, heard=None))
    (kept,) = rows_in(path)
    assert kept["name"] == (latin if name == "rows.jsonl" else "caf\\udce9.wav")


def test_a_parquet_file_has_all_columns_of_their_types_also_without_rows(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    with resumable_rows(path, SETTINGS, COLUMNS):
        pass
    schema = pyarrow.parquet.read_schema(path)
    assert schema.names == list(COLUMNS)
    assert str(schema.field("words").type) == "list<element: struct<text: string, start: double>>"


def test_without_pyarrow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with (
        pytest.raises(MissingExtraError, match=r"transformers-aura\[parquet\]"),
        resumable_rows(tmp_path / "rows.parquet", SETTINGS, COLUMNS),
    ):
        pass
    assert not list(tmp_path.iterdir())


def test_printed_rows_come_in_the_order_of_the_inputs(capsys: pytest.CaptureFixture[str]) -> None:
    rows = PrintedRows(lambda row: row["answer"])
    rows.add(2, row("c"))
    rows.add(0, row("a"))
    assert capsys.readouterr().out == "of a\n"
    rows.add(1, {"name": "b", "error": "broken"})
    assert capsys.readouterr().out == "of c\n"


def test_a_file_for_each_row(tmp_path: Path) -> None:
    rows = FilePerRow(tmp_path / "out", "txt", lambda row: row["answer"])
    rows.add(0, row("calls/a.wav"))
    rows.add(1, {"name": "calls/b.wav", "error": "broken"})
    assert {file.name: file.read_text() for file in (tmp_path / "out").iterdir()} == {"a.txt": "of calls/a.wav\n"}
