"""Rows from manifests, folders and Hub datasets, mixed as a recipe says."""

import json
import sys
from pathlib import Path

import pytest

from tests.distillation.support import tiny_rows, tiny_trainer
from transformers_aura.distillation.recipe import DataSource, RecipeError
from transformers_aura.distillation.recipe_data import HubRows, ManifestRows, MixedRows, load_context_texts, load_rows


ROWS = [
    {"audio": "clips/0.flac", "transcript": "zero", "answer": "0", "speaker": "a"},
    {"audio": "/elsewhere/1.flac", "transcript": "one", "answer": "1", "speaker": "b"},
    {"audio": "https://host/2.flac", "transcript": "two", "answer": "2", "speaker": "c"},
    {"audio": None, "question": "three?", "answer": "3"},
]


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    file = tmp_path / "manifest.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in ROWS) + "\n\n")
    return file


def test_manifest_paths_are_relative_to_the_manifest(manifest: Path) -> None:
    rows = load_rows([DataSource(str(manifest))], "data.train")
    assert [row["audio"] for row in rows] == [
        str(manifest.parent / "clips/0.flac"),
        "/elsewhere/1.flac",
        "https://host/2.flac",
        None,
    ]
    assert rows[0] == {
        "audio": str(manifest.parent / "clips/0.flac"),
        "transcript": "zero",
        "question": None,
        "answer": "0",
    }


def test_sources_are_mixed_and_renamed(manifest: Path) -> None:
    manifest.write_text("\n".join(manifest.read_text().splitlines()[:3]))
    sources = [
        DataSource(str(manifest.parent), repeat=2, use=["audio", "transcript"]),
        DataSource(str(manifest), columns={"answer": "speaker"}),
    ]
    rows = load_rows(sources, "data.train")
    once = [json.loads(line) for line in manifest.read_text().splitlines()]
    assert [row["transcript"] for row in rows] == 3 * [row["transcript"] for row in once]
    assert [row["answer"] for row in rows] == [*2 * len(once) * [None], *(row["speaker"] for row in once)]


def test_rows_of_manifests_know_how_long_clips_are_where_all_lines_say_so(tmp_path: Path) -> None:
    lines = [{"audio": f"{number}.flac", "transcript": "a", "seconds": 1.5 + number} for number in range(2)]
    file = tmp_path / "manifest.jsonl"
    file.write_text("\n".join(map(json.dumps, lines)))
    assert load_rows([DataSource(str(file), repeat=2)], "data.train").seconds == [1.5, 2.5, 1.5, 2.5]
    file.write_text("\n".join(map(json.dumps, [*lines, {"audio": "2.flac", "transcript": "b"}])))
    assert load_rows([DataSource(str(file))], "data.train").seconds is None


def test_a_source_seen_less_than_once_is_spread_over_its_rows() -> None:
    rows = MixedRows([(list("abcdefgh"), 0.5), (list("xyz"), 2.0)])
    assert [rows[index] for index in range(len(rows))] == [*"aceg", *"xyzxyz"]


def test_hub_rows_have_our_names() -> None:
    dataset = [{"sentence": "hello", "audio": {"bytes": b"", "path": None}, "age": 3}]
    rows = HubRows(dataset, {"audio": "audio", "transcript": "sentence"})
    assert rows[0] == {
        "audio": {"bytes": b"", "path": None},
        "transcript": "hello",
        "question": None,
        "answer": None,
    }


def test_a_folder_of_parquet_files(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    for number, text in enumerate(("one", "two")):
        values = {"audio": [{"bytes": b"RIFF", "path": None}], "transcript": [text], "seconds": [1.5 + number]}
        datasets.Dataset.from_dict(values).to_parquet(tmp_path / f"train-{number}.parquet")
    datasets.Dataset.from_dict(values).to_parquet(tmp_path / "validation-0.parquet")
    source = DataSource(str(tmp_path), use=["audio", "transcript"])
    rows = load_rows([source, DataSource(str(tmp_path), split="validation")], "data.train")
    assert [rows[index]["transcript"] for index in range(len(rows))] == ["one", "two", "two"]
    assert rows[0]["audio"] == {"bytes": b"RIFF", "path": None}
    assert rows.seconds == [1.5, 2.5, 2.5]
    with pytest.raises(RecipeError, match=r"nor a folder with test-\*\.parquet"):
        load_rows([DataSource(str(tmp_path), split="test")], "data.train")


def test_only_short_clips(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    values = {"audio": [{"bytes": b"RIFF", "path": None}] * 3, "transcript": ["a", "b", "c"]}
    dataset = datasets.Dataset.from_dict(values | {"seconds": [1.5, 4.0, 2.0]})
    dataset.to_parquet(tmp_path / "train-0.parquet")
    source = DataSource(str(tmp_path), use=["audio", "transcript"], max_seconds=2)
    rows = load_rows([source], "data.train")
    assert [rows[index]["transcript"] for index in range(len(rows))] == ["a", "c"]
    assert rows.seconds == [1.5, 2.0]
    dataset.remove_columns("seconds").to_parquet(tmp_path / "train-0.parquet")
    with pytest.raises(RecipeError, match="no column 'seconds'"):
        load_rows([source], "data.train")
    (tmp_path / "manifest.jsonl").write_text("{}")
    with pytest.raises(RecipeError, match="is a manifest"):
        load_rows([source], "data.train")


def test_hub_dataset_by_id_through_datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    table = datasets.Dataset.from_dict({"clip": ["a.wav", "b.wav"], "sentence": ["a", "b"], "age": [1, 2]})
    asked: list = []

    def load_dataset(*args: object, **kwargs: object) -> object:
        asked.append((args, kwargs))
        return table.cast_column("clip", datasets.Audio(sampling_rate=16000))

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    source = DataSource("org/speech", config="en", split="test", columns={"audio": "clip", "transcript": "sentence"})
    rows = load_rows([source], "data.train")
    assert asked == [(("org/speech", "en"), {"split": "test", "revision": None})]
    assert len(rows) == 2
    assert rows[0]["transcript"] == "a"
    assert rows[0]["audio"]["path"] == "a.wav"  # not decoded: the collator does that

    with pytest.raises(RecipeError, match=r"org/speech has no column 'text'; it has clip, sentence, age"):
        load_rows([DataSource("org/speech", columns={"transcript": "text"})], "data.train")
    with pytest.raises(RecipeError, match=r"Say which is which: columns: {audio: clip, transcript: sentence}"):
        load_rows([DataSource("org/speech")], "data.train")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"source": "missing.jsonl"}, r"'data.train.0.source': there is no manifest missing\.jsonl"),
        ({"repeat": 0.0}, r"'data.train.0.repeat' must be above 0"),
        ({"repeat": 0.01}, r"'data.train.0.repeat' of 0.01 makes 0 rows out of 4"),
        ({"repeat": 1e14}, r"'data.train.0.repeat' of 1e\+14 makes 400000000000000 rows"),
        ({"source": "x" * 5000}, r"'data.train.0.source': the text of 5000 characters \('x{24}...'\) is no path"),
        ({"columns": {"sound": "audio"}}, r"names 'sound'; a row holds audio, transcript, question, answer"),
        ({"use": ["text"]}, r"names 'text'"),
        ({"columns": {"transcript": "words"}}, r"line 1 has no column 'words'"),
        ({"use": ["transcript"]}, r"line 1 has neither audio nor a question"),
    ],
)
def test_what_is_wrong_is_named(manifest: Path, source: dict, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        load_rows([DataSource(**{"source": str(manifest), **source})], "data.train")


def test_a_manifest_without_rows_is_named(manifest: Path) -> None:
    manifest.write_text("\n")
    with pytest.raises(RecipeError, match=r"'data.train.0.source': .* holds no rows"):
        load_rows([DataSource(str(manifest))], "data.train")


def test_a_line_that_is_not_json_is_named(manifest: Path) -> None:
    manifest.write_text('{"audio": "a.flac"}\n{"audio": \n')
    with pytest.raises(RecipeError, match="line 2 is not JSON"):
        load_rows([DataSource(str(manifest))], "data.train")


def test_a_source_that_stays_out_of_the_answer_kl(manifest: Path) -> None:
    kept_out = DataSource(str(manifest), answer_kl=False)
    rows = load_rows([kept_out, DataSource(str(manifest))], "data.train")
    marks = [row.get("answer_kl", True) for row in rows]
    assert marks == [False] * (len(rows) // 2) + [True] * (len(rows) // 2)


def test_a_folder_of_parquet_files_that_stays_out_of_the_answer_kl(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    table = datasets.Dataset.from_dict({"audio": ["a.wav"], "transcript": ["a"], "answer": ["b"]})
    table.to_parquet(tmp_path / "train-a.parquet")
    assert load_rows([DataSource(str(tmp_path), answer_kl=False)], "data.train")[0]["answer_kl"] is False
    assert "answer_kl" not in load_rows([DataSource(str(tmp_path))], "data.train")[0]


def test_common_voice_as_it_is_unpacked(tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "x.mp3").touch()
    table = tmp_path / "validated.tsv"
    table.write_text('client_id\tpath\tsentence\tage\nme\tx.mp3\t"Hello," he said.\t\n')
    mapped = {"audio": "path", "transcript": "sentence"}
    for source in (
        DataSource(str(table)),
        DataSource(str(table), columns=mapped),
        DataSource(str(tmp_path), split="validated"),
    ):
        (row,) = load_rows([source], "data.train")
        assert row["audio"] == str(tmp_path / "clips" / "x.mp3")
        assert row["transcript"] == '"Hello," he said.'


def test_numbers_are_answers(manifest: Path) -> None:
    manifest.write_text('{"audio": "a.wav", "answer": 42, "transcript": 0.5}')
    (row,) = load_rows([DataSource(str(manifest))], "data.train")
    assert (row["answer"], row["transcript"]) == ("42", "0.5")


@pytest.mark.fault("training")
@pytest.mark.parametrize(
    ("row", "source", "message"),
    [
        ({"path": "a.wav", "text": "a"}, {}, r"neither audio nor a question; it has the columns path, text. Say which is which: columns: {audio: path, transcript: text}"),
        ({"audio": "a.wav", "text": "a"}, {}, r"line 1 has no column 'transcript', but 'text'. Say so with columns: {transcript: text}, or leave that out with use: \[audio\]"),
        ({"audio": "a.wav", "answer": ["a"]}, {}, r"line 1: 'answer' must be text or a number, not \['a'\]"),
        ({"audio": 5}, {}, "line 1: a recording is a path, a URL or samples, not 5"),
        ({"audio": "", "transcript": "a"}, {}, "line 1 has neither audio nor a question"),
        ({"data:audio/wav;base64," + "A" * 10_000: 1}, {}, "has the columns data:audio/wav;base64,A{38}\\.\\.\\."),
        ({"audio": "a.wav"}, {"source": "data:text/plain," + "A" * 10_000}, "'data.train.0.source': the `data:` URL of 10016 characters is no path"),
        ({"audio": "a.wav"}, {"source": "https://host/rows.jsonl"}, "'data.train.0.source': 'https://host/rows.jsonl' is no path"),
    ],
)  # fmt: skip
def test_a_row_that_is_wrong_is_named(manifest: Path, row: dict, source: dict, message: str) -> None:
    manifest.write_text(json.dumps(row))
    with pytest.raises(RecipeError, match=message) as caught:
        load_rows([DataSource(**{"source": str(manifest), **source})], "data.train")
    assert len(str(caught.value)) < 500


def test_columns_under_other_names_may_be_left_out(manifest: Path) -> None:
    manifest.write_text('{"audio": "a.wav", "text": "a"}')
    assert load_rows([DataSource(str(manifest), use=["audio"])], "data.train")[0]["transcript"] is None
    mapped = DataSource(str(manifest), columns={"question": "text"})
    assert load_rows([mapped], "data.train")[0]["question"] == "a"


def test_parquet_with_glob_characters_unknown_lengths_and_numbers(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    folder = tmp_path / "take [1]*?{a,b}"
    values = {"audio": [{"bytes": b"RIFF", "path": None}] * 2, "transcript": [1, 2], "seconds": [1.5, None]}
    datasets.Dataset.from_dict(values).to_parquet(folder / "train-0[1].parquet")
    for source in (str(folder), str(folder / "train-0[1].parquet")):
        rows = load_rows([DataSource(source)], "data.train")
        assert [rows[index]["transcript"] for index in range(len(rows))] == ["1", "2"]
        assert rows.seconds is None
    with pytest.raises(RecipeError, match=r"row 1 of .* has nothing as its 'seconds'"):
        load_rows([DataSource(str(folder), max_seconds=2)], "data.train")
    with pytest.raises(RecipeError, match=r"row 0: 'audio' must be text or a number"):
        load_rows([DataSource(str(folder), columns={"answer": "audio"})], "data.train")[0]
    (folder / "train-0[1].parquet").write_bytes(b"PAR1")
    with pytest.raises(RecipeError, match=r"'data.train.0.source': .* cannot be loaded"):
        load_rows([DataSource(str(folder))], "data.train")


@pytest.mark.fault("training")
def test_a_missing_library_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(RecipeError, match=r"'data.train.0.source': .*needs datasets, .*'transformers-aura\[train\]'"):
        load_rows([DataSource("org/speech")], "data.train")


def test_context_texts(tmp_path: Path) -> None:
    file = tmp_path / "texts.txt"
    file.write_text("one text\n\n another \n")
    assert load_context_texts(str(file)) == ["one text", "another"]
    assert load_context_texts(None) is None
    with pytest.raises(RecipeError, match="no file"):
        load_context_texts(str(tmp_path / "missing.txt"))


def test_an_evaluation_goes_through_rows_by_length_where_that_is_known(tmp_path: Path) -> None:
    rows = ManifestRows(tiny_rows(4))
    trainer = tiny_trainer(tmp_path, eval_dataset=rows)
    assert list(trainer.get_eval_dataloader().dataset.numbers) == [0, 1, 2, 3]
    rows.seconds = [3.0, 1.0, 4.0, 2.0]
    assert list(trainer.get_eval_dataloader().dataset.numbers) == [1, 3, 0, 2]
