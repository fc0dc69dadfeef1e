import json

import pytest

from tests.distillation.streams.support import flac, write_json_lines, write_parquet, write_tar, write_tars
from transformers_aura.distillation.streams import shards
from transformers_aura.distillation.streams.shards import ParquetShard, ShardError, TarShard, json_lines_shards


def texts(shard, start=0, step=1):
    return [row["transcript"] for _, row in shard.rows(start, step)]


@pytest.mark.parametrize("kind", ["tar", "parquet"])
def test_rows_from_any_one_on_in_steps(tmp_path, kind):
    if kind == "tar":
        every = write_tars(tmp_path, [11])
        shard = TarShard(str(tmp_path / "train-000.tar"))
    else:
        every = write_parquet(tmp_path, [11])
        shard = ParquetShard(str(tmp_path / "train-000.parquet"), ("audio", "transcript"))
    for start in range(12):
        for step in (1, 2, 3, 7):
            assert texts(shard, start, step) == every[start::step]
    assert next(shard.rows(3, 1))[1]["audio"]["bytes"] == flac(3)


def test_ranges_of_json_lines_hold_every_line_once_with_its_number(tmp_path, monkeypatch):
    every = write_json_lines(tmp_path, 20)
    monkeypatch.setattr(shards, "BYTES_PER_RANGE", 150)
    ranges = json_lines_shards(str(tmp_path / "manifest.jsonl"), "audio")
    assert len(ranges) > 4
    found = [placed for each in ranges for placed in each.rows(0, 1)]
    assert [row["transcript"] for _, row in found] == every
    assert [place.rpartition(" ")[2] for place, _ in found] == [str(number) for number in range(1, 21)]
    assert found[5][1]["audio"] == str(tmp_path / "5.flac")
    assert texts(ranges[1], 1, 2) == texts(ranges[1])[1::2]


def test_members_of_a_sample_are_columns(tmp_path):
    said = json.dumps({"transcript": "said", "answer": "Paris."}).encode()
    path = write_tar(
        tmp_path / "a.tar",
        {"x/1": {"WAV": b"RIFF", "json": said, "cls": b"3"}, "x/2": {"mp3": b"ID3", "txt": b" two\n"}},
    )
    (_, first), (place, second) = TarShard(str(path)).rows(0, 1)
    assert first["audio"] == first["wav"] == {"bytes": b"RIFF", "path": "x/1.WAV"}
    assert (first["transcript"], first["answer"]) == ("said", "Paris.")
    assert second["transcript"] == "two"
    assert place == f"{path}, x/2"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"txt": b"hello"}, r"b.tar, 1 has no recording \(\.flac, .*\), only \.txt"),
        ({"flac": b"", "json": b"{"}, r"b.tar, 1.json is not JSON"),
        ({"flac": b"", "json": b"[]"}, r"1.json holds no object"),
        ({"flac": b"", "txt": b"\xff"}, r"1.txt is not UTF-8"),
    ],
)
def test_a_sample_that_lacks_a_member_or_has_a_broken_one_is_named(tmp_path, files, message):
    path = write_tar(tmp_path / "b.tar", {"0": {"flac": flac(0), "txt": b"good"}, "1": files})
    with pytest.raises(ShardError, match=message):
        list(TarShard(str(path)).rows(0, 1))


@pytest.mark.parametrize("kept", [0.3, 0.999, "between members"])
def test_a_tar_that_is_cut_is_an_error_that_says_where(tmp_path, kept):
    write_tars(tmp_path, [5])
    path = tmp_path / "train-000.tar"
    content = path.read_bytes()
    end = content.index(b"clips/0002.flac") if kept == "between members" else int(len(content.rstrip(b"\0")) * kept)
    path.write_bytes(content[:end])
    with pytest.raises(ShardError, match=r"train-000.tar is cut or damaged behind clips/000\d .*Copy it again"):
        list(TarShard(str(path)).rows(0, 1))


def test_parquet_that_is_none(tmp_path):
    (tmp_path / "x.parquet").write_bytes(b"no")
    with pytest.raises(ShardError, match=r"x.parquet cannot be read as Parquet"):
        list(ParquetShard(str(tmp_path / "x.parquet"), ("audio",)).rows(0, 1))
