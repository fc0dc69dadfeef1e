import json
import shutil
from dataclasses import replace

import pytest

from tests.evaluation.support import questions, right_on
from tests.evaluation.test_evaluation import evaluate
from transformers_aura.evaluation.comparison import compare_evaluations


def test_runs_apart_give_the_table_of_one_run(tmp_path):
    student, cascade = right_on(range(9), "student"), right_on(range(12), "cascade")
    together = evaluate(tmp_path / "together", [student, cascade])
    evaluate(tmp_path / "first", [student])
    evaluate(tmp_path / "second", [cascade])
    compared = compare_evaluations([tmp_path / "first", tmp_path / "second"], tmp_path / "out")
    assert compared.figures == together.figures
    assert compared.tests == together.tests
    report = (tmp_path / "out" / "results.md").read_text()
    assert "| student | 12 | 0 | 75.0 % " in report
    audio = compared.examples[0]["audio"]
    assert (tmp_path / "out" / audio).is_file()


def test_two_systems_of_one_name_are_told_apart_by_their_folders(tmp_path):
    evaluate(tmp_path / "old", [right_on(range(3), "student")])
    evaluate(tmp_path / "new", [right_on(range(9), "student")])
    compared = compare_evaluations([tmp_path / "old", tmp_path / "new"], tmp_path / "out")
    assert {figure.system for figure in compared.figures} == {"student", "new/student"}


def test_two_folders_of_one_name_do_not_hide_each_other(tmp_path):
    folders = [tmp_path / parent / "eval" for parent in "abc"]
    for number, folder in enumerate(folders):
        evaluate(folder, [right_on(range(3 + number), "student")])
    with pytest.raises(ValueError, match="Two folders are called 'eval', and their systems 'student' differ"):
        compare_evaluations(folders, tmp_path / "out")


@pytest.fixture(scope="module")
def two_evaluations(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluations")
    for name in ("a", "b"):
        evaluate(folder / name, [right_on(range(3), name)])
    return folder


@pytest.mark.fault("evaluation")
@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("results.json", lambda text: text[: len(text) // 2], r"results\.json does not hold what an evaluation writes \(JSONDecodeError"),
        ("results.json", lambda text: "[]", "does not hold what an evaluation writes"),
        ("results.json", lambda text: "[" * 100_000, "does not hold what an evaluation writes"),
        ("results.json", lambda text: "\xff", "does not hold what an evaluation writes"),
        ("results.json", lambda text: '{"format": 1}', r"does not hold what an evaluation writes \(KeyError: 'facts'"),
        ("results.json", lambda text: '{"accuracy": 0.5}', r"another version of this package \(format nothing, here 1\)"),
        ("results.json", lambda text: json.dumps(json.loads(text) | {"figures": {}}), r"'figures' is \{\} \(dict\)"),
        ("results.json", lambda text: json.dumps(json.loads(text) | {"figures": [{"value": 1}]}), "num_items"),
        ("results.json", lambda text: json.dumps(json.loads(text) | {"figures": [{"value": []}]}), r"'value' of a figure is \[\]"),
        ("results.json", lambda text: json.dumps(json.loads(text) | {"failures": [{"system": "a"}]}), "benchmark"),
        ("results.json", lambda text: json.dumps(json.loads(text) | {"systems": {"a": 1}}), r"'systems\.a' is 1"),
        ("scores.jsonl", lambda text: text[: len(text) - 20], r"scores\.jsonl, line 36, holds no score of this evaluation"),
        ("scores.jsonl", lambda text: "5\n", r"scores\.jsonl, line 1, holds no score"),
        ("scores.jsonl", lambda text: text.replace("contains", "unheard"), "line 1, holds no score .*KeyError: 'unheard'"),
        ("scores.jsonl", lambda text: text.replace('"statistics": [', '"statistics": ["x", '), "line 1, holds no score"),
    ],
)  # fmt: skip
def test_files_of_another_shape_are_named(two_evaluations, tmp_path, file, change, message):
    shutil.copytree(two_evaluations, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "a" / file
    path.write_text(change(path.read_text()), encoding="latin-1")
    with pytest.raises(ValueError, match=message):
        compare_evaluations([tmp_path / "a", tmp_path / "b"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_compared_is_an_error(tmp_path):
    evaluate(tmp_path / "a", [right_on(range(3), "a")])
    evaluate(tmp_path / "b", [right_on(range(3), "b")], questions(10))
    with pytest.raises(ValueError, match="a and b were not asked the same items of quiz"):
        compare_evaluations([tmp_path / "a", tmp_path / "b"], tmp_path / "out")
    with pytest.raises(ValueError, match="two evaluations or more, got 1"):
        compare_evaluations([tmp_path / "a"], tmp_path / "out")
    with pytest.raises(FileNotFoundError, match=r"holds no results\.json"):
        compare_evaluations([tmp_path / "a", tmp_path / "c"], tmp_path / "out")
    path = tmp_path / "b" / "results.json"
    content = json.loads(path.read_text())
    content["scorers"]["contains"]["version"] = "0"
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="another version of 'contains'"):
        compare_evaluations([tmp_path / "a", tmp_path / "b"], tmp_path / "out")


def test_rows_of_two_commits_are_not_compared(tmp_path):
    for name in ("a", "b"):
        quiz = questions()
        evaluate(tmp_path / name, [right_on(range(3), name)], replace(quiz, origin={"commit": f"commit-{name}"}))
    with pytest.raises(ValueError, match="quiz was read at commit commit-a in one evaluation and at commit-b"):
        compare_evaluations([tmp_path / "a", tmp_path / "b"], tmp_path / "out")
