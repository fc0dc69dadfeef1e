"""The report of two ways to teach answers: figures of made-up runs, and a run that is there is not run again."""

import json
from pathlib import Path
from typing import Any

import pytest

from aura_research import on_policy
from aura_research.corpus import questions_of
from aura_research.on_policy import F1, RIGHT, SAME, Asked, marks, report
from aura_research.texts.questions import Question


def run(arm: str, seed: int, same: list[float]) -> dict[str, Any]:
    taken = {
        "steps": 10, "questions": 40, "answer_tokens": 400.0, "processor_minutes": 1.0, "wall_minutes": 1.1, "first_loss": 0.5, "last_loss": 0.25,
    }  # fmt: skip
    if arm == "on_policy":
        taken["generation_share"] = 0.3
    scores = {SAME: same, F1: [0.5] * len(same), RIGHT: [1.0, None, *same[2:]]}
    return {"arm": arm, "seed": seed, "taken": {} if arm == "start" else taken, "answers": [], "marks": scores}


def test_the_report_gives_each_arm_and_the_differences() -> None:
    runs = [run("start", 0, [0.0, 0.0, 0.0, 1.0])]
    runs += [run("answer_kl", seed, [0.0, 0.0, 1.0, 1.0]) for seed in (0, 1)]
    runs += [run("on_policy", seed, [0.0, 1.0, 1.0, 1.0]) for seed in (0, 1)]
    text = report(runs)
    assert "| start (1 run) | 25.0 (" in text
    assert "| on_policy (2 runs) | 75.0 (" in text
    assert "n = 4 | 50.0 (" in text
    assert "n = 3 |" in text, "questions that the base LLM does not get right do not count"
    assert "| on_policy - answer_kl | +25.0 (" in text
    assert "| on_policy | 1 | 10 | 40 | 400 | 1.0 | 1.1 | 30 % | 0.500 to 0.250 |" in text


def test_an_answer_is_marked_beside_the_base_llms() -> None:
    paris = Question("Where?", ("Paris",), "facts", "In Paris.", True)
    asked = [Asked({}, paris), Asked({}, paris), Asked({}, Question("Why?", (), "facts", "So.", None))]
    found = marks(["in paris", "In Rome.", "So."], ["In Paris.", "In Lyon.", "So."], asked)
    assert found == {SAME: [1.0, 0.0, 1.0], F1: [1.0, 0.5, 1.0], RIGHT: [1.0, None, None]}


def test_validation_questions_are_none_of_those_that_train() -> None:
    training, validation = (
        {item.question for item in questions_of(validation=is_validation)} for is_validation in (False, True)
    )
    assert not training & validation


def test_a_run_that_is_there_is_not_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("training_rows", "validation_questions"):
        monkeypatch.setattr(on_policy, name, lambda folder: [])
    monkeypatch.setattr(on_policy, "load_student", lambda: (None, None))
    monkeypatch.setattr(on_policy, "answers", lambda *args, **kwargs: [])
    monkeypatch.setattr(on_policy, "train", lambda *args: pytest.fail("trained again"))
    (tmp_path / "runs").mkdir()
    for arm, seed in (("start", 0), ("answer_kl", 7), ("on_policy", 7)):
        (tmp_path / "runs" / f"{arm}-{seed}.json").write_text(json.dumps(run(arm, seed, [1.0, 0.0, 1.0])))
    monkeypatch.setattr("sys.argv", ["on_policy", str(tmp_path), "--seeds", "7"])
    on_policy.main()
    assert "| answer_kl (1 run) |" in capsys.readouterr().out
    assert (tmp_path / "on_policy.md").is_file()
