"""Readings between the points where a run was scored."""

import json
from dataclasses import asdict

import pytest

from student.ablations.results import interpolate, load_results
from tests.student.ablations.support import made_up_run


def test_interpolation_is_linear_and_begins_with_the_first_place():
    assert interpolate([10, 20, 40], [[0, 1], [1, 1], [0, 1]], 25).tolist() == [0.75, 1.0]
    assert interpolate([10, 20], [[0], [1]], 10).tolist() == [0.0]
    assert interpolate([10, 20], [[0], [1]], 99).tolist() == [1.0]
    assert interpolate([10, 20], [[0], [1]], 9.9) is None
    assert interpolate([], [], 1) is None


def test_a_run_is_read_over_steps_and_over_seconds():
    run = made_up_run("a", 0, [[False, False], [True, False], [True, True]], seconds_per_step=2.0)
    assert run.end("step") == 30
    assert run.end("train_seconds") == 60
    assert run.core_share == pytest.approx(0.9)
    assert run.marks_at("synthetic", "step", 15) == {"clip 0": 0.5, "clip 1": 0.0}
    assert run.marks_at("synthetic", "train_seconds", 50) == {"clip 0": 1.0, "clip 1": 0.5}
    assert run.marks_at("synthetic", "train_seconds", 19) is None
    assert run.marks_at("real", "step", 30) is None
    assert run.value_at("eval_lm_loss", "train_seconds", 50) == pytest.approx(1.5)
    assert run.value_at("eval_unknown", "step", 30) is None


def test_finished_runs_are_found_by_name_and_seed(tmp_path):
    for seed in (1, 0):
        folder = tmp_path / "g-a" / f"seed-{seed}"
        folder.mkdir(parents=True)
        (folder / "result.json").write_text(json.dumps(asdict(made_up_run("g-a", seed, [[True]]))))
    (tmp_path / "g-a" / "seed-2").mkdir()  # not finished
    results = load_results(tmp_path, ["g-a", "g-b"])
    assert list(results["g-a"]) == [0, 1]
    assert results["g-b"] == {}
