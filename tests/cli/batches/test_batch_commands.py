"""`aura ask` and `aura transcribe` of many recordings, on a tiny student: as if each were asked alone, also when killed in between."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
import soundfile

from tests.cli.test_main import run
from tests.support.tiny_models import babble, quiet, tiny_transcriber


pytestmark = pytest.mark.filterwarnings("ignore::transformers_aura.processing.audio_loading.SilentAudioWarning")

LENGTHS = {"a": 1.0, "b": 0.4, "c": 2.1, "d": 0.7, "e": 1.4}
SHORT = ("--max-new-tokens", "6", "--dtype", "float32")


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("student")
    tiny_transcriber(path, decoding_config={"beam_size": 8, "num_rescored": 4})
    return str(path / "student")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings, one in which nobody speaks, and one that is none."""
    path = tmp_path_factory.mktemp("calls")
    for seed, (name, seconds) in enumerate(LENGTHS.items()):
        soundfile.write(path / f"{name}.wav", babble(seconds, seed)["array"], 16_000, subtype="FLOAT")
    soundfile.write(path / "silent.wav", quiet(0.5)["array"], 16_000)
    (path / "broken.wav").write_bytes((path / "a.wav").read_bytes()[:3000])
    return path


@pytest.fixture(scope="module")
def whole(folder: Path) -> list[str]:
    return [str(folder / f"{name}.wav") for name in (*LENGTHS, "silent")]


def rows_of(path: Path) -> dict[str, dict]:
    """Rows by name, each once."""
    lines = path.read_text("utf-8").splitlines()
    rows = {row["name"]: row for row in map(json.loads, lines)}
    assert len(rows) == len(lines)
    return rows


@pytest.mark.parametrize("answer_from", ["audio", "transcript"])
def test_ask_a_folder_as_each_alone(
    student: str, folder: Path, whole: list[str], answer_from: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    how = ("--from", answer_from, *SHORT)
    out = tmp_path / "answers.jsonl"
    code, printed, err = run(capsys, "ask", student, str(folder), "Who?", *how, "--out", str(out), "--batch-size", "4")
    assert (code, printed) == (1, "")
    assert "error: 1 of 7 recordings failed:" in err
    assert "broken.wav" in err.splitlines()[-1]
    rows = rows_of(out)
    broken = rows.pop(str(folder / "broken.wav"))
    assert broken.keys() == {"name", "audio", "error"}
    assert sorted(rows) == whole
    for name in whole:
        code, printed, _ = run(capsys, "ask", student, name, "Who?", *how, "--json")
        assert code == 0
        assert rows[name] == {"name": name, "audio": name, "question": "Who?", **json.loads(printed)}
    assert len({row["answer"] for row in rows.values()}) > 2


def test_ask_a_manifest_and_parquet_with_their_own_questions(
    student: str, folder: Path, whole: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = [("one", whole[0], "Why?"), ("two", whole[0], None), ("three", whole[2], None)]
    rows = [{"name": name, "audio": audio, "question": question} for name, audio, question in asked]
    manifest = tmp_path / "rows.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    table = tmp_path / "rows.parquet"
    for row in rows:
        row["audio"] = {"bytes": Path(row["audio"]).read_bytes(), "path": None}
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), table, row_group_size=2)
    expected = []
    for name, audio, question in asked:
        _, printed, _ = run(capsys, "ask", student, audio, question or "Who?", "--from", "audio", *SHORT)
        expected.append(f"{name}: {printed}")
    for source in (manifest, table):
        code, printed, err = run(capsys, "ask", student, str(source), "Who?", "--from", "audio", *SHORT)
        assert code == 0, err
        assert printed == "".join(expected)
    out = tmp_path / "out.parquet"
    code, _, err = run(capsys, "ask", student, str(table), "Who?", "--from", "audio", *SHORT, "--out", str(out))
    assert code == 0, err
    found = pyarrow.parquet.read_table(out).to_pylist()
    assert {row["name"]: f"{row['name']}: {row['answer']}\n" for row in found} == dict(
        zip(("one", "two", "three"), expected, strict=True)
    )
    assert {row["name"]: row["question"] for row in found} == {"one": "Why?", "two": "Who?", "three": "Who?"}


def test_no_limit_of_a_neighbour_holds_for_an_answer(
    student: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where nobody says, a recording of 25 s has a longer answer than one of 1 s, and a tiny student never ends by itself."""
    for name, seconds in (("long", 25.0), ("short", 1.0)):
        soundfile.write(tmp_path / f"{name}.wav", babble(seconds)["array"], 16_000, subtype="FLOAT")
    how = ("--from", "audio", "--dtype", "float32")
    code, printed, err = run(capsys, "ask", student, str(tmp_path), *how, "--json")
    assert code == 0, err
    answers = [json.loads(line)["answer"] for line in printed.splitlines()]
    alone = [run(capsys, "ask", student, str(tmp_path / f"{name}.wav"), *how)[1] for name in ("long", "short")]
    assert [f"{answer}\n" for answer in answers] == alone


@pytest.mark.fault("resume")
def test_a_run_that_was_killed_goes_on_where_it_was(
    student: str, whole: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = tmp_path / "rows.csv"
    manifest.write_text("name,audio\n" + "".join(f"{number},{whole[number % 5]}\n" for number in range(100)))
    out = tmp_path / "answers.jsonl"
    arguments = ["ask", student, str(manifest), "Who?", "--from", "audio", *SHORT, "--out", str(out)]
    command = [sys.executable, "-m", "transformers_aura.cli.main", *arguments, "--batch-size", "1"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < deadline:
            if out.is_file() and out.read_bytes().count(b"\n") >= 3:
                process.send_signal(signal.SIGKILL)
                break
            time.sleep(0.002)
        assert process.wait() == -signal.SIGKILL, process.stderr and process.stderr.read()
    content = out.read_bytes()
    kept = content[: content.rfind(b"\n") + 1]
    assert 3 <= kept.count(b"\n") < 100
    out.write_bytes(kept + kept.splitlines()[0][:25])  # as if killed while it wrote
    code, _, err = run(capsys, *arguments, "--context", "Nobody.")
    assert code == 1
    assert 'context was null, now "Nobody."' in err
    code, _, err = run(capsys, *arguments)
    assert code == 0, err
    assert f"{len(kept.splitlines())} of 100 recordings are done already." in err
    assert out.read_bytes().startswith(kept)
    rows = rows_of(out)
    assert rows.keys() == {str(number) for number in range(100)}
    of_recordings = [{rows[str(number)]["answer"] for number in range(first, 100, 5)} for first in range(5)]
    assert [len(answers) for answers in of_recordings] == [1] * 5
    content = out.read_bytes()
    assert run(capsys, *arguments)[0] == 0
    assert out.read_bytes() == content


def test_transcribe_a_glob_in_two_shards_as_each_alone(
    student: str, folder: Path, whole: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = {}
    for part in (1, 2):
        out = tmp_path / f"{part}.jsonl"
        code, printed, err = run(
            capsys, "transcribe", student, f"{folder}/*.wav", "--best", "2", "--shard", f"{part}/2", "--out", str(out)
        )
        assert printed == ""
        assert code == (1 if "broken" in err else 0)
        of_part = rows_of(out)
        assert not of_part.keys() & rows.keys()
        rows |= of_part
    assert "error" in rows.pop(str(folder / "broken.wav"))
    assert sorted(rows) == whole
    for name in whole:
        code, printed, _ = run(capsys, "transcribe", student, name, "--format", "json", "--best", "2")
        alone = json.loads(printed)
        assert rows[name].pop("log_probability") == pytest.approx(alone.pop("log_probability"), abs=2e-3)
        assert rows[name] == {"name": name, **alone}
    code, _, err = run(
        capsys, "transcribe", student, str(folder), "--shard", "1/2", "--out", str(tmp_path / "2.jsonl")
    )
    assert code == 1
    assert 'shard was "2/2", now "1/2"' in err


def test_transcribe_several_prints_in_order_and_goes_on_past_a_broken_one(
    student: str, folder: Path, whole: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = {name: run(capsys, "transcribe", student, name)[1] for name in whole}
    files = [whole[2], str(folder / "broken.wav"), whole[0], whole[1]]
    code, printed, err = run(capsys, "transcribe", student, *files)
    assert code == 1
    assert printed == "".join(f"{name}: {alone[name]}" for name in files if name in alone)
    assert "error: 1 of 4 recordings failed:" in err
    captions = tmp_path / "captions"
    code, printed, err = run(capsys, "transcribe", student, str(folder), "--format", "srt", "--out", str(captions))
    assert (code, printed) == (1, "")
    assert sorted(file.name for file in captions.iterdir()) == [*(f"{name}.srt" for name in LENGTHS), "silent.srt"]
    code, _, err = run(capsys, "transcribe", student, whole[2], "--format", "srt")
    assert code == 0, err


def test_transcripts_as_parquet(
    student: str, whole: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "transcripts.parquet"
    code, _, err = run(capsys, "transcribe", student, *whole, "--out", str(out))
    assert code == 0, err
    found = {row["name"]: row for row in pyarrow.parquet.read_table(out).to_pylist()}
    code, printed, _ = run(capsys, "transcribe", student, whole[2], "--format", "json")
    assert found[whole[2]]["words"] == json.loads(printed)["words"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("ask", "x.wav", "--out", "answers.txt"), 2, "rows go to a .jsonl or a .parquet file"),
        (("transcribe", "x.wav", "--out", "rows.jsonl", "--format", "srt"), 2, "Captions go to a folder"),
        (("ask", "x.wav", "--batch-size", "0"), 2, "batch-size"),
        (("ask", "x.wav", "--shard", "3/2"), 1, "--shard is the number of this part"),
        (("ask", "*.nothing"), 1, "No file matches '*.nothing'"),
        (("ask", "x.wav", "--engine", "vllm", "--from", "transcript"), 1, "vLLM answers recordings directly"),
    ],
)
def test_errors(
    student: str, arguments: tuple[str, ...], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command, *others = arguments
    found, _, err = run(capsys, command, student, *others)
    assert found == code
    assert said in " ".join(err.replace("│", " ").split())
    assert "Traceback" not in err
