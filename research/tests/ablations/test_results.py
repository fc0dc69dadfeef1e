"""Readings between the points where a run was scored."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from aura_research.ablations.arms import RECIPE, AblationError, load_groups, recipe_digest
from aura_research.ablations.results import RUNS, interpolate, load_results, publish, read_published
from research.tests.ablations.support import made_up_run


DOCS = Path(__file__).resolve().parents[2] / "docs"


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


def test_published_runs_add_up_and_hold_what_the_report_reads(tmp_path):
    path, recipe = tmp_path / "docs" / "runs.jsonl", tmp_path / "recipe.yaml"
    recipe.write_text("model: {lora_rank: 2}\n")
    assert read_published(path) == {}
    digest = recipe_digest(recipe)
    first = made_up_run("g-a", 1, [[True, False]], recipe=digest)
    first.log.insert(0, {"step": 5, "train_seconds": 5.0, "train_cpu_seconds": 4.0, "loss": 1.0})
    publish(path, {"g-a": {1: first}}, recipe)
    later = {seed: made_up_run("g-a", seed, [[True, True]], recipe=digest) for seed in (1, 0)}
    everything = publish(path, {"g-a": later, "g-b": {}}, recipe)
    assert list(everything) == ["g-a"]
    assert len(path.read_text().splitlines()) == 2
    assert list(everything["g-a"]) == [0, 1]
    run = everything["g-a"][1]
    assert run.last_marks("synthetic") == [True, True]
    assert run.last_marks("real") == []
    assert run.curve("eval_lm_loss") == first.curve("eval_lm_loss")
    assert run.core_share == first.core_share
    assert "loss" not in {
        key for of_name in everything.values() for run in of_name.values() for entry in run.log for key in entry
    }

    distilled = made_up_run("g-c", 0, [[True, True]], recipe=digest)
    for entry in distilled.log:
        del entry["eval_lm_loss"]  # a student that is only distilled is taught no answers
    assert publish(path, {"g-c": {0: distilled}}, recipe)["g-c"][0].curve("eval_cosine") == distilled.curve(
        "eval_cosine"
    )

    with pytest.raises(AblationError, match="g-d, seed 0"):  # of a recipe that all arms changed
        other = made_up_run("g-d", 0, [[True]], recipe=recipe_digest(recipe, ["a=1"]), common_settings=["a=1"])
        publish(path, {"g-d": {0: other}}, recipe)

    recipe.write_text("# the same, otherwise said\nmodel:\n  lora_rank: 2\n")
    publish(path, {}, recipe)
    recipe.write_text("model: {lora_rank: 4}\n")
    with pytest.raises(AblationError, match=r"g-a, seed 1.*Remove them from .*runs\.jsonl, or run them again"):
        publish(path, {}, recipe)


def test_the_runs_in_docs_are_of_the_recipe_as_it_is():
    pages = sorted(DOCS.glob(f"ablations*/{RUNS}"))
    runs = [run for page in pages for of_arm in read_published(page).values() for run in of_arm.values()]
    assert runs
    assert all(run.recipe == recipe_digest(RECIPE, run.common_settings) for run in runs)
    settings = {arm.run: list(arm.settings) for group in load_groups() for arm in group.arms}
    for run in runs:
        assert sorted(run.settings) == sorted(settings[run.name]), f"{run.name} is another arm now"
