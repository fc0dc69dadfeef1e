"""Manifests as people write, export and download them."""

import json
from pathlib import Path

import pytest

from transformers_aura.processing.manifests import ManifestError, as_text, audio_beside, find_manifest, read_manifest
from transformers_aura.processing.text_files import TextFileError


ROWS = [{"audio": "a b.wav", "transcript": 'He said "café", twice'}, {"audio": "ü.wav", "transcript": "a\u2028b"}]
LINES = "\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS)
CSV = 'audio,transcript\na b.wav,"He said ""café"", twice"\nü.wav,a\u2028b\n'


def read(tmp_path: Path, name: str, content: str | bytes) -> list[tuple[int, dict]]:
    file = tmp_path / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(read_manifest(file))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.jsonl", LINES),
        ("rows.jsonl", LINES.encode("utf-8-sig")),
        ("rows.jsonl", LINES.replace("\n", "\r\n") + "\r\n\r\n"),
        ("rows.ndjson", LINES),
        ("rows", LINES),
        ("rows.json", LINES),
        ("rows.json", json.dumps(ROWS)),
        ("rows.json", json.dumps(ROWS, indent=2).encode("utf-8-sig")),
        ("rows.txt", json.dumps(ROWS)),
        ("rows.csv", CSV),
        ("rows.CSV", CSV.encode("utf-8-sig").replace(b"\n", b"\r\n")),
        ("rows.csv", CSV.replace(",", ";").replace('";', '",')),
        ("rows.csv", 'audio\ttranscript\na b.wav\t"He said ""café"", twice"\nü.wav\ta\u2028b\n'),
        ("rows.tsv", 'audio\ttranscript\na b.wav\tHe said "café", twice\nü.wav\ta\u2028b'),
        ("rows.tsv", 'audio\ttranscript\na b.wav\t"He said ""café"", twice"\n\nü.wav\ta\u2028b\n'),
        ("rows.txt", 'audio\ttranscript\na b.wav\tHe said "café", twice\nü.wav\ta\u2028b'),
    ],
)
def test_the_same_rows_in_every_form(tmp_path: Path, name: str, content: str | bytes) -> None:
    assert [row for _, row in read(tmp_path, name, content)] == ROWS


def test_lines_are_those_of_an_editor(tmp_path: Path) -> None:
    table = 'audio,transcript\n\na.wav,"two\nlines"\nb.wav,\n'
    assert read(tmp_path, "rows.csv", table) == [
        (3, {"audio": "a.wav", "transcript": "two\nlines"}),
        (5, {"audio": "b.wav", "transcript": None}),
    ]
    array = '[\n {"audio":\n  "a.wav"},\n\n {"audio": "b.wav"}, {"audio": "c.wav"}]\n'
    assert [line for line, _ in read(tmp_path, "rows.json", array)] == [2, 5, 5]
    assert [line for line, _ in read(tmp_path, "rows.jsonl", '\n{"audio": "a"}\n\n{"audio": "b"}')] == [2, 4]


@pytest.mark.fault("loading")
@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("rows.jsonl", LINES.encode("utf-16"), r"rows\.jsonl, line 1 is UTF-16 text\. Save the file as UTF-8"),
        ("rows.jsonl", LINES.encode("utf-16-le"), "line 1 is UTF-16 text"),
        ("rows.csv", CSV.encode("utf-16-be"), "line 1 is UTF-16 text"),
        ("rows.json", LINES.encode("utf-32"), "line 1 is UTF-32 text"),
        ("rows.jsonl", b'{"audio": "a"}\n{"audio": "caf\xe9.wav"}\n', "line 2 is not UTF-8: byte 0xe9 after '{\"audio\": \"caf'"),
        ("rows.csv", b"audio\n\n\xfc.wav", "line 3 is not UTF-8: byte 0xfc after ''"),
        ("rows.jsonl", b"\x1f\x8b\x08\x00", "is compressed by gzip"),
        ("rows.csv", b"PK\x03\x04", "is an Excel workbook"),
        ("rows.jsonl", json.dumps(ROWS), r"line 1 holds a list, not an object; one JSON array belongs into rows\.json"),
        ("rows.jsonl", '{"audio": "a"}\n"b.wav"\n', r"line 2 holds 'b.wav' \(str\), not an object"),
        ("rows.json", '[{"audio": "a"},\n 5]', r"line 2 holds 5 \(int\), not an object"),
        ("rows.json", '[{"audio": "a"},\n {"audio": "b"]', "line 2 is not JSON: Expecting ',' delimiter at column 15"),
        ("rows.json", '[{"audio": "a"},\n {"audio": NaN}]', "line 2 is not JSON: NaN is no value"),
        ("rows.json", '{\n "audio": ["a", "b"]\n}', "line 1 is not JSON"),
        ("rows.jsonl", '{"audio": "a", "answer": Infinity}', "line 1 is not JSON: Infinity is no value"),
        ("rows.jsonl", '{"audio": "a", "audio": "b"}', "line 1 is not JSON: 'audio' stands twice"),
        ("rows.jsonl", '{"audio": ' + "[" * 100_000, "line 1 is not JSON"),
        ("rows.jsonl", '{"audio": ' + "9" * 5000 + "}", "line 1 is not JSON"),
        ("rows.csv", "audio,transcript\na.wav,Yes, please\n", "line 2 has 3 cells, but the header 2"),
        ("rows.csv", 'audio,transcript\na.wav,"Yes" please\n', "line 2 is no row of a CSV table"),
        ("rows.csv", 'audio\n"a.wav\nb.wav\n', "line 2 is no row of a CSV table: unexpected end"),
        ("rows.tsv", "audio\ttranscript\na.wav\n", "line 2 has 1 cells, but the header 2"),
        ("rows.tsv", "audio\taudio\na.wav\tb.wav\n", "line 1 names the column 'audio' twice"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_file_and_line(
    tmp_path: Path, name: str, content: str | bytes, message: str
) -> None:
    with pytest.raises(TextFileError, match=message) as caught:
        read(tmp_path, name, content)
    assert str(caught.value).startswith(str(tmp_path / name))
    assert len(str(caught.value)) < 300 + len(str(tmp_path))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(TextFileError, match=r"rows\.jsonl cannot be read: No such file"):
        list(read_manifest(tmp_path / "rows.jsonl"))
    assert issubclass(ManifestError, TextFileError)


def test_a_table_of_common_voice_has_our_columns_too(tmp_path: Path) -> None:
    table = 'client_id\tpath\tsentence\tage\nme\tx.mp3\t"Hello," he said.\t\n'
    assert read(tmp_path, "validated.tsv", table) == [
        (2, {"audio": "x.mp3", "transcript": '"Hello," he said.', "client_id": "me", "path": "x.mp3",
             "sentence": '"Hello," he said.', "age": None})
    ]  # fmt: skip


def test_where_a_recording_lies(tmp_path: Path) -> None:
    manifest = tmp_path / "rows.jsonl"
    base64_like = "abcd" * 20
    (tmp_path / "clips").mkdir()
    for name in ("here.wav", "clips/both.wav", "both.wav", "clips/far.wav", base64_like):
        (tmp_path / name).touch()
    beside = {
        "here.wav": "here.wav",
        "both.wav": "both.wav",
        "far.wav": "clips/far.wav",
        "missing.wav": "missing.wav",
        base64_like: base64_like,
        "/else/where.wav": "/else/where.wav",
    }
    for written, found in beside.items():
        assert audio_beside(manifest, written) == str(tmp_path / found)
    for url in (
        "https://host/a.wav",
        "data:audio/wav;base64,UklGRg==",
        "DATA:,x",
        "file:///a.wav",
        "s3://b/c",
        "efgh" * 30,
    ):
        assert audio_beside(manifest, url) == url
    assert audio_beside(manifest, "~/a.wav") == "~/a.wav"
    assert audio_beside(manifest, "") is audio_beside(manifest, None) is None
    assert audio_beside(manifest, {"path": "far.wav"}) == {"path": str(tmp_path / "clips/far.wav")}
    samples = {"array": [0.0, 0.1], "sampling_rate": 16000}
    assert audio_beside(manifest, samples) == samples
    for wrong in (5, True, 0.5):
        with pytest.raises(ValueError, match="a recording is a path, a URL or samples"):
            audio_beside(manifest, wrong)


def test_numbers_are_text_and_nothing_else_is() -> None:
    assert [as_text(value, "answer") for value in ("a", 42, 0.5, None)] == ["a", "42", "0.5", None]
    for wrong in (True, ["a"], {"a": 1}, b"a"):
        with pytest.raises(ValueError, match="'answer' must be text or a number, not "):
            as_text(wrong, "answer")
    with pytest.raises(ValueError, match="half of a character"):
        as_text("a\ud800", "answer")


def test_which_manifest_of_a_folder(tmp_path: Path) -> None:
    assert find_manifest(tmp_path, "train") is None
    for name in ("test.tsv", "train.tsv", "manifest.csv", "manifest.jsonl"):
        (tmp_path / name).touch()
        expected = {"test.tsv": None}.get(name, tmp_path / name)
        assert find_manifest(tmp_path, "train") == expected
