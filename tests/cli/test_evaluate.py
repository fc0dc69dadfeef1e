"""`aura evaluate` on a tiny student, from the command line to the model card."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile

from tests.cli.test_main import run
from tests.support.fake_hub import FakeHub
from tests.support.published import STUDENT_ID, PublishedStudent, publish_student
from tests.support.tiny import tone
from tests.support.tiny_whisper import save_writing_whisper
from transformers_aura.evaluation import benchmarks
from transformers_aura.evaluation.benchmarks import Benchmark
from transformers_aura.evaluation.systems import interface
from transformers_aura.modeling import dtypes


@pytest.fixture
def student(fake_hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PublishedStudent:
    for task in interface.MAX_NEW_TOKENS:
        monkeypatch.setitem(interface.MAX_NEW_TOKENS, task, 4)
    return publish_student(fake_hub, tmp_path)


@pytest.fixture
def quiz(tmp_path: Path) -> Path:
    """Six spoken questions in two rooms; of one the recording is gone."""
    folder = tmp_path / "quiz"
    folder.mkdir()
    rows = []
    for number in range(6):
        soundfile.write(folder / f"{number}.wav", tone(0.3 + 0.05 * number, 200 + 50 * number), 16000)
        rows.append(
            {"audio": f"{number}.wav", "answer": "the", "transcript": f"number {number}", "groups": {"room": "hall"}}
        )
    (folder / "5.wav").unlink()
    (folder / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_the_base_llm_is_read_in_the_format_of_the_student(
    student: PublishedStudent,
    quiz: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dtypes, "cpu_multiplies", lambda dtype: True)
    config = student.folder / "config.json"
    config.write_text(
        json.dumps(json.loads(config.read_text()) | {"dtype": "bfloat16"})
    )  # its base is stored in float32
    code, printed, err = run(
        capsys, "evaluate", str(student.folder), "-b", str(quiz), "-c", "clean", "--device", "cpu", "--out", str(tmp_path / "out")
    )  # fmt: skip
    assert code == 0, err
    assert "bit for bit on 5 of 5 prompts (bfloat16;" in printed


def test_a_report_from_a_student_to_the_card(
    student: PublishedStudent, quiz: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whisper = save_writing_whisper(tmp_path / "whisper")
    noise = tmp_path / "noise.wav"
    soundfile.write(noise, tone(0.5, 50), 16000)
    out = tmp_path / "out"
    command = ("evaluate", f"student={student.folder}", "-b", str(quiz), "-s", "gold", "-s", "cascade", "--whisper", str(whisper),
               "-c", "clean", "-c", "noise:6", "-c", "noise:0", "-c", "shuffled", "--noise", str(noise), "--dtype", "float32",
               "--device", "cpu", "--out", str(out), "--card")  # fmt: skip
    code, printed, err = run(capsys, *command)
    assert code == 0, err
    assert "| student | 6 | 1 |" in printed
    assert "| gold | 6 | 1 |" in printed
    assert "5.wav" in printed, "an item whose audio is broken is reported, not dropped"
    assert "equal its base LLM's bit for bit on 5 of 5 prompts" in printed
    results = json.loads((out / "results.json").read_text())
    assert set(results["systems"]) == {"student", "gold", "cascade"}
    assert {figure["condition"] for figure in results["figures"]} == {
        "clean",
        "noise:6",
        "noise:0",
        "noise:all",
        "shuffled",
    }
    card = (student.folder / "README.md").read_text()
    assert "quiz, clean" in card

    again, printed_again, _ = run(capsys, *command)
    assert (again, printed_again) == (0, printed), "every answer was kept"


def test_rows_of_several_tasks_are_sets_of_their_own(
    student: PublishedStudent, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The rows that the README trains on, evaluated by the command that stands there."""
    for name in ("order.flac", "question.wav"):
        soundfile.write(tmp_path / name, tone(0.4), 16000)
    rows = [
        {"audio": "order.flac", "transcript": "a small latte please"},
        {"audio": "order.flac", "answer": "one latte, small", "transcript": "a small latte please"},
        {"audio": "question.wav", "question": "Which city?", "answer": "Paris.", "transcript": "Where is the Louvre?"},
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = tmp_path / "out"
    code, _, err = run(
        capsys, "evaluate", str(student.folder), "-b", str(tmp_path / "rows.jsonl"), "-s", "gold", "-c", "clean", "-c", "shuffled",
        "--device", "cpu", "--out", str(out),
    )  # fmt: skip
    assert code == 0, err
    results = json.loads((out / "results.json").read_text())
    assert {name: facts["num_items"] for name, facts in results["benchmarks"].items()} == {
        "rows-transcripts": 1,
        "rows-answers": 2,
    }
    scored = {(figure["benchmark"], figure["scorer"]) for figure in results["figures"]}
    assert {scorer for benchmark, scorer in scored if benchmark == "rows-transcripts"} == {"wer", "cer"}
    assert {scorer for benchmark, scorer in scored if benchmark == "rows-answers"} == {
        "contains",
        "exact_match",
        "squad_f1",
    }
    assert {figure["system"] for figure in results["figures"] if figure["benchmark"] == "rows-answers"} > {"gold"}


@pytest.mark.parametrize("missing", ["jiwer", "sacrebleu"])
def test_a_plain_installation_is_told_of_the_extra_before_any_work(
    student: PublishedStudent,
    quiz: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    missing: str,
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    out = tmp_path / "out"
    code, _, err = run(capsys, "evaluate", str(student.folder), "-b", "there-is-no-such-set", "--out", str(out))
    assert code == 1
    assert f"needs {missing}" in err
    assert "pip install 'transformers-aura[evaluation]'" in " ".join(err.split())
    assert not out.exists()


def test_by_hub_id_and_evaluations_in_one_table(
    student: PublishedStudent, quiz: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, system in (("one", STUDENT_ID), ("two", f"other={student.folder}")):
        code, _, err = run(
            capsys, "evaluate", system, "-b", str(quiz), "--out", str(tmp_path / name), "--device", "cpu"
        )
        assert code == 0, err
    code, printed, err = run(
        capsys, "evaluate", "--compare", str(tmp_path / "one"), str(tmp_path / "two"), "--out", str(tmp_path / "both")
    )
    assert code == 0, err
    assert "aura-qwen7b - other" in printed
    identity = json.loads((tmp_path / "one" / "results.json").read_text())["systems"]["aura-qwen7b"]
    assert identity["student"] == {"repo": STUDENT_ID, "commit": student.commit}


def test_a_run_that_goes_on_stays_with_the_rows_that_it_began_with(
    student: PublishedStudent,
    quiz: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    newest = "first"

    def rows_of(benchmark: Benchmark, revision: str | None) -> tuple[Iterator[dict], dict]:
        row = {"id": "0", "question": "Who?", "answers": ["Ada"], "aus": str(quiz / "0.wav")}
        return iter([row]), {"repo": benchmark.repo, "commit": revision or newest}

    monkeypatch.setattr(benchmarks, "_hub_rows", rows_of)

    def commit(*more: str) -> str:
        out = tmp_path / "out"
        code, _, err = run(
            capsys, "evaluate", str(student.folder), "-b", "sd-qa", "--device", "cpu", "--out", str(out), *more
        )
        assert code == 0, err
        return json.loads((out / "results.json").read_text())["benchmarks"]["sd-qa"]["commit"]

    assert commit() == "first"
    newest = "second"
    assert commit() == "first"
    assert commit("--revision", "third") == "third"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((STUDENT_ID,), 2, "name at least one benchmark"),
        (("-b", "sd-qa"), 2, "name a student, or a --system"),
        ((STUDENT_ID, "-b", "sdqa"), 1, "Did you mean 'sd-qa'?"),
        ((STUDENT_ID, "-b", "quiz", "-c", "noise:6"), 1, "--noise kitchen.flac"),
        ((STUDENT_ID, "-b", "quiz", "--scorer", "rouge"), 1, "There is no scorer 'rouge'"),
        (("-b", "QUIZ", "-s", "gold"), 1, "'gold' needs an LLM"),
        (("--compare", "one"), 1, "two evaluations or more"),
    ],
)
def test_errors_for_people(
    student: PublishedStudent,
    quiz: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    code: int,
    said: str,
) -> None:
    found, _, err = run(capsys, "evaluate", *(str(quiz) if argument == "QUIZ" else argument for argument in arguments))
    assert found == code
    assert said in " ".join(err.split())
    assert "Traceback" not in err


def test_students_of_different_llms_need_one_that_reads(
    student: PublishedStudent, quiz: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.support.tiny import tiny_processor
    from tests.support.tiny_models import tiny_student

    other = tmp_path / "other"
    tiny_student(tmp_path / "other_base", "llama").save_pretrained(other)
    tiny_processor().save_pretrained(other)
    both = (
        "evaluate",
        str(student.folder),
        str(other),
        "-b",
        str(quiz),
        "--device",
        "cpu",
        "--out",
        str(tmp_path / "out"),
    )
    code, _, err = run(capsys, *both, "-s", "gold")
    assert code == 1
    assert "The students have different LLMs" in err
    code, printed, err = run(capsys, *both)
    assert code == 0, err
    assert "bit for bit" not in printed, "there is no one LLM to compare with"


def test_students_answer_from_what_is_asked_for(
    student: PublishedStudent, quiz: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ("evaluate", str(student.folder), "-b", str(quiz), "-c", "clean", "-c", "shuffled", "--device", "cpu")
    code, _, err = run(capsys, *command, "--out", str(tmp_path / "out"), "--from", "audio", "--card")
    assert code == 0, err
    (identity,) = json.loads((tmp_path / "out" / "results.json").read_text())["systems"].values()
    assert identity["answer_from"] == "audio"
    card = (student.folder / "README.md").read_text()
    assert "quiz, clean" in card
    assert "shuffled" not in card, "a control is no result"
    assert run(capsys, *command, "--from", "text")[0] == 2
