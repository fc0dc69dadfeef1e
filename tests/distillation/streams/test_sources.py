import json
import pickle

import datasets
import pytest

from tests.distillation.streams.support import flac, write_json_lines, write_parquet, write_tar, write_tars
from transformers_aura.distillation.recipe import DataSection, DataSource, RecipeError
from transformers_aura.distillation.recipe_data import load_rows
from transformers_aura.distillation.streams.sources import load_stream


def stream_of(*sources, **settings):
    return load_stream(DataSection(list(sources), stream=True, **settings), seed=0)


def test_every_kind_of_source_in_one_stream(tmp_path, monkeypatch):
    tars = write_tars(tmp_path / "tars", [3, 2])
    tables = write_parquet(tmp_path / "tables", [4, 1])
    lines = write_json_lines(tmp_path / "lines", 4)
    published = datasets.Dataset.from_list(
        [{"clip": {"bytes": flac(n), "path": None}, "sentence": f"hub {n}", "other": n} for n in range(6)]
    ).cast_column("clip", datasets.Audio())

    def load_dataset(name, config=None, streaming=False, **settings):
        assert (name, streaming) == ("org/speech", True)
        return published.to_iterable_dataset(num_shards=3)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    stream = stream_of(
        DataSource(f"{tmp_path}/tars/*.tar"),
        DataSource(str(tmp_path / "tables"), answer_kl=False),
        DataSource(str(tmp_path / "lines")),
        DataSource("org/speech", columns={"audio": "clip", "transcript": "sentence"}),
    )
    assert stream.num_shards == [2, 2, 1, 3]
    rows = list(stream)
    assert list(pickle.loads(pickle.dumps(stream))) == rows, "as workers that are spawned get it"
    assert sorted(row["transcript"] for row in rows) == sorted(
        [*tars, *tables, *lines, *(f"hub {n}" for n in range(6))]
    )
    by_text = {row["transcript"]: row for row in rows}
    assert by_text["hub 4"]["audio"]["bytes"] == flac(4)
    assert by_text["table 2"]["answer_kl"] is False
    assert by_text["line 2"]["audio"] == str(tmp_path / "lines" / "2.flac")
    # A reader of a dataset's shard begins in its middle.
    hub = stream.sources[3].shards[1]
    assert [row["sentence"] for _, row in hub.rows(1, 1)] == [row["sentence"] for _, row in hub.rows(0, 1)][1:]


def test_tars_of_the_hub_keep_the_names_of_their_members(tmp_path, monkeypatch):
    every = write_tars(tmp_path / "tars", [3, 2])
    tars = sorted(map(str, (tmp_path / "tars").glob("*.tar")))
    load = datasets.load_dataset
    monkeypatch.setattr(
        datasets,
        "load_dataset",
        lambda *_, split, streaming, **__: load(
            "webdataset", data_files=tars, split=split, streaming=streaming, cache_dir=str(tmp_path)
        ),
    )
    stream = stream_of(DataSource("org/tars", columns={"audio": "flac", "transcript": "txt"}))
    assert stream.num_shards == [2]
    rows = {row["transcript"]: row["audio"]["bytes"] for row in stream}
    assert sorted(rows) == sorted(every)
    assert rows["tar 4"] == flac(4)


def test_clips_that_are_too_long_are_left_out(tmp_path):
    write_parquet(tmp_path, [7])
    assert {row["transcript"] for row in stream_of(DataSource(str(tmp_path), max_seconds=0.25))} == {
        "table 0",
        "table 1",
        "table 2",
    }
    write_json_lines(tmp_path / "lines", 2)
    with pytest.raises(RecipeError, match="nothing as its 'seconds', so max_seconds cannot be kept"):
        stream_of(DataSource(str(tmp_path / "lines"), max_seconds=1))


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        ([{"repeat": 0.5}], "repeat' is 0.5; of a stream it is a whole number"),
        ([{"weight": 0}], "weight' must be above 0"),
        ([{"weight": 1, "repeat": 2}], "both weight and repeat"),
        ([{"weight": 1}, {}], "'data.train.1' has no weight, but others have"),
        ([{"columns": {"transcript": "words"}}], "has no column 'words'; it has flac, audio, txt, transcript"),
    ],
)
def test_settings_that_a_stream_cannot_have(tmp_path, sources, message):
    write_tars(tmp_path, [2])
    with pytest.raises(RecipeError, match=message):
        stream_of(*(DataSource(**{"source": str(tmp_path), **source}) for source in sources))


def test_what_is_no_stream_and_what_is_only_a_stream(tmp_path):
    write_tars(tmp_path, [2])
    with pytest.raises(RecipeError, match=r"train-000.tar is a tar, .*set data.stream: true"):
        load_rows([DataSource(str(tmp_path))], "data.train")
    with pytest.raises(RecipeError, match=r"is a tar, .*give a manifest or Parquet files"):
        load_rows([DataSource(str(tmp_path))], "data.evaluation")
    with pytest.raises(RecipeError, match=r"'data.train.0.weight' is for streams"):
        load_rows([DataSource(str(tmp_path), weight=2)], "data.train")
    (tmp_path / "rows.csv").write_text("audio,transcript\na.wav,x\n")
    with pytest.raises(RecipeError, match=r"rows.csv is no stream; of manifests only JSON lines"):
        stream_of(DataSource(str(tmp_path / "rows.csv")))
    with pytest.raises(RecipeError, match=r"'data.shuffle_buffer' must be 1"):
        stream_of(DataSource(str(tmp_path)), shuffle_buffer=0)


def test_a_later_shard_without_the_columns_is_named(tmp_path):
    write_parquet(tmp_path, [2])
    datasets.Dataset.from_list([{"text": "x"}]).to_parquet(tmp_path / "train-001.parquet")
    with pytest.raises(RecipeError, match=r"train-001.parquet, row 0 has neither audio nor a question"):
        list(stream_of(DataSource(str(tmp_path))))
    write_tar(
        tmp_path / "tars" / "a.tar",
        {"0": {"flac": flac(0), "json": json.dumps({"words": "x"}).encode()}, "1": {"flac": flac(0)}},
    )
    with pytest.raises(RecipeError, match=r"a.tar, 1 has no column 'words'"):
        list(stream_of(DataSource(str(tmp_path / "tars"), columns={"transcript": "words"})))
