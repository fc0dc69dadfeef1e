"""What a command line names, as inputs: folders, globs, manifests, Parquet, standard input; and the shards of them."""

import io
import itertools
import json
import sys
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from transformers_aura.cli.batches.inputs import find_inputs
from transformers_aura.cli.batches.sources import BatchInput, InputError
from transformers_aura.extras import MissingExtraError


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with a folder `calls`."""
    for name in ("b.wav", "a.FLAC", "deep/er/c.mp3", ".hidden.wav", ".trash/d.wav", "notes.txt", "deep/._c.mp3"):
        file = tmp_path / "calls" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def found(*written: str, shard: str | None = None) -> list[BatchInput]:
    return list(find_inputs(written, shard).without(set()))


def write_parquet(path: Path, rows: list[dict], row_group_size: int = 3) -> None:
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path, row_group_size=row_group_size)


def test_a_folder_is_all_recordings_in_it_in_a_stable_order(calls: Path) -> None:
    names = ["calls/a.FLAC", "calls/b.wav", "calls/deep/er/c.mp3"]
    for written in ("calls", "./calls/", "calls/../calls"):
        assert [(each.name, each.audio, each.place) for each in found(written)] == [(name,) * 3 for name in names]
    assert not find_inputs(["calls"]).single
    (calls / "calls" / "manifest.jsonl").write_text('{"audio": "b.wav"}\n')
    assert [each.audio for each in found("calls")] == ["calls/b.wav"]


def test_one_recording_is_one_whether_it_is_there_or_not(calls: Path) -> None:
    for written in ("calls/b.wav", "missing.wav", "https://host/a.wav?x=[1]*", "data:audio/wav;base64,AAAA"):
        inputs = find_inputs([written])
        assert inputs.single
        assert [(each.name, each.audio) for each in inputs.without(set())] == [(written, written)]
    long = "data:audio/wav;base64," + "A" * 1000
    second = found("calls/b.wav", long)[1]
    assert (second.name, second.place) == ("recording-2", None)


def test_a_glob_is_all_files_that_match_once(calls: Path) -> None:
    assert [each.name for each in found("calls/**/*.[wm]*")] == ["calls/b.wav", "calls/deep/er/c.mp3"]
    assert [each.name for each in found("calls/*.wav", "calls/b.wav", "calls")] == [
        "calls/b.wav", "calls/a.FLAC", "calls/deep/er/c.mp3"
    ]  # fmt: skip
    (calls / "really[1].wav").write_bytes(b"x")
    assert find_inputs(["really[1].wav"]).single
    with pytest.raises(InputError, match=r"No file matches 'calls/\*\.ogg'"):
        find_inputs(["calls/*.ogg"])


def test_manifests_and_their_columns(calls: Path) -> None:
    (calls / "rows.jsonl").write_text(
        '{"audio": "calls/b.wav", "question": "Who?", "context": 7, "transcript": "of others"}\n\n'
        '{"name": "mine", "audio": "https://host/a.wav"}\n{"question": "no audio?"}\n{"audio": 5}\n'
    )
    first, mine, without, wrong = found("rows.jsonl")
    assert first == BatchInput("rows.jsonl:1", "./calls/b.wav", "Who?", "7")
    assert mine == BatchInput("mine", "https://host/a.wav")
    assert without.problem == "the row has no audio"
    assert "not 5 (int)" in (wrong.problem or "")
    (calls / "calls" / "table.csv").write_text("name;audio\none;b.wav\n;a.FLAC\n")
    assert [(each.name, each.audio) for each in found("calls/table.csv")] == [
        ("one", "calls/b.wav"), ("calls/table.csv:3", "calls/a.FLAC")
    ]  # fmt: skip


@pytest.mark.fault("loading")
@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("rows.jsonl", '{"path": "a.wav"}\n', "rows.jsonl has no column 'audio'; it has path"),
        ("rows.jsonl", "", "holds no rows"),
        ("rows.jsonl", "{", "line 1 is not JSON"),
        ("rows.jsonl", '{"name": "x", "audio": "a.wav"}\n{"name": "x", "audio": "b.wav"}\n', "Two inputs are called 'x'"),
        ("rows.parquet", "PAR1 but no more", "rows.parquet cannot be read"),
        ("other.jsonl", "", "There is no file 'rows.jsonl'"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_told_by_name(calls: Path, name: str, content: str, said: str) -> None:
    (calls / name).write_text(content)
    with pytest.raises(ValueError, match=said):
        find_inputs([name if name != "other.jsonl" else "rows.jsonl"])
    (calls / "empty").mkdir()
    with pytest.raises(InputError, match="The folder 'empty' holds no recordings"):
        find_inputs(["empty"])


def test_parquet_of_bytes_paths_and_what_datasets_writes(calls: Path) -> None:
    write_parquet(
        calls / "calls" / "rows.parquet",
        [{"name": f"n{number}", "audio": {"bytes": bytes([number]), "path": "old.wav"}} for number in range(8)],
    )
    write_parquet(calls / "paths.parquet", [{"audio": "calls/b.wav", "question": "Q"}, {"audio": None}])
    write_parquet(calls / "bytes.parquet", [{"audio": b"RIFF", "other": 1}])
    assert [(each.name, each.audio) for each in found("calls/rows.parquet")] == [
        (f"n{number}", {"bytes": bytes([number])}) for number in range(8)
    ]
    assert "calls/b.wav" in [each.name for each in found("calls")]
    assert "n7" in [each.name for each in found("calls")]
    first, empty = found("paths.parquet")
    assert first == BatchInput("paths.parquet:1", "./calls/b.wav", "Q")
    assert empty.problem == "the row has no audio"
    assert found("bytes.parquet") == [BatchInput("bytes.parquet:1", b"RIFF")]
    write_parquet(calls / "none.parquet", [{"sound": "a.wav"}])
    with pytest.raises(InputError, match=r"none\.parquet has no column 'audio'; it has sound"):
        find_inputs(["none.parquet"])


def test_without_pyarrow_the_extra_is_named(calls: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_parquet(calls / "rows.parquet", [{"audio": "a.wav"}])
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'transformers-aura\[parquet\]'"):
        find_inputs(["rows.parquet"])


def standard_input(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


def test_standard_input_is_a_recording_or_names_of_recordings(monkeypatch: pytest.MonkeyPatch) -> None:
    standard_input(monkeypatch, b"RIFF\x24\x00\x00\x00WAVE")
    inputs = find_inputs(["-"])
    assert inputs.single
    assert list(inputs.without(set())) == [BatchInput("-", b"RIFF\x24\x00\x00\x00WAVE")]
    standard_input(monkeypatch, "ä.wav\r\n\n https://host/b.wav\nä.wav\n".encode())
    inputs = find_inputs(["-"])
    assert not inputs.single
    assert inputs.names == ["ä.wav", "https://host/b.wav"]


@pytest.mark.parametrize("count", [1, 2, 3, 5, 30])
def test_shards_are_disjoint_complete_and_stable(calls: Path, count: int) -> None:
    write_parquet(calls / "rows.parquet", [{"audio": f"{number}.wav"} for number in range(11)])
    (calls / "rows.jsonl").write_text("".join(json.dumps({"audio": f"{number}.wav"}) + "\n" for number in range(5)))
    written = ("calls", "rows.jsonl", "rows.parquet", "extra.wav")
    everything = found(*written)
    assert len(everything) == 3 + 1 + 5 + 11
    shards = [found(*written, shard=f"{part}/{count}") for part in range(1, count + 1)]
    assert shards == [found(*written, shard=f"{part}/{count}") for part in range(1, count + 1)]
    together = [each for row in itertools.zip_longest(*shards) for each in row if each is not None]
    assert together == everything
    for part, shard in enumerate(shards, start=1):
        inputs = find_inputs(written, f"{part}/{count}")
        assert inputs.names == [each.name for each in shard]
        done = set(inputs.names[::2])
        assert [each.name for each in inputs.without(done)] == inputs.names[1::2]


@pytest.mark.parametrize("written", ["0/3", "4/3", "3", "a/b", "1/0", "-1/2"])
def test_a_shard_that_cannot_be(written: str) -> None:
    with pytest.raises(InputError, match="--shard is the number of this part and of all parts"):
        find_inputs(["a.wav"], written)
