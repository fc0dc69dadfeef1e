"""Real runs of tiny models: one in this process that is killed and goes on, and the whole command with processes."""

import json
import os
import subprocess
import sys

import pytest

from aura_research.ablations import __main__ as command
from aura_research.ablations import worker
from aura_research.ablations.arms import load_groups
from aura_research.ablations.clips import scored_clips
from aura_research.ablations.plan import Budget, plan_runs, write_specs
from aura_research.ablations.results import load_results
from research.tests.ablations.support import write_arms, write_recordings
from tests.support.training import write_corpus, write_recipe
from transformers_aura.evaluation.systems import interface
from transformers_aura.processing.audio_loading import load_audio


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    write_corpus(folder / "corpus")
    write_recordings(folder / "recordings")
    write_recipe(folder)
    write_arms(folder / "arms.yaml")
    return folder


def plan(folder, out, name, **budget):
    """Writes the `run.json` of one run and returns its folder."""
    groups = load_groups(folder / "arms.yaml")
    runs = plan_runs(
        groups, [0], folder / "corpus", folder / "recordings", Budget(**budget), folder / "recipe.yaml"
    )  # fmt: skip
    run = next(run for run in runs if run.name == name)
    write_specs(out, [run])
    return out / run.folder


def test_clips_are_the_validation_rows_and_the_recordings_kept_for_validation(folder):
    clips = scored_clips(folder / "corpus" / "orders", folder / "recordings")
    assert [clip.groups["kind"] for clip in clips] == ["synthetic"] * 4 + ["real"]
    assert json.loads(clips[1].accepted[0]) == {"coffeeDrink": "mocha"}
    assert load_audio(clips[0].audio).shape == (4800,)


def test_clips_without_recordings(folder, tmp_path, capsys):
    assert len(scored_clips(folder / "corpus" / "orders", tmp_path)) == 4
    assert "so they are left out" in capsys.readouterr().out


def test_a_killed_run_goes_on_and_ends_as_if_it_had_not_been_killed(folder, tmp_path, monkeypatch):
    monkeypatch.setitem(interface.MAX_NEW_TOKENS, "slots", 4)
    whole = plan(folder, tmp_path / "whole", "supervision-both", steps=6)
    worker.run_arm(whole)
    killed = plan(folder, tmp_path / "killed", "supervision-both", steps=6)

    class Killed(Exception):
        pass

    from aura_research.ablations.clock import TrainingClock

    on_step_end = TrainingClock.on_step_end

    def die_after_step_5(clock, args, state, control, **kwargs):
        if state.global_step == 5:
            raise Killed
        on_step_end(clock, args, state, control, **kwargs)

    monkeypatch.setattr(TrainingClock, "on_step_end", die_after_step_5)
    with pytest.raises(Killed):
        worker.run_arm(killed)
    assert [path.name for path in worker.checkpoints(killed / "training")] == ["checkpoint-2", "checkpoint-4"]
    (killed / "training" / "checkpoint-4" / "trainer_state.json").unlink()  # killed while it was written
    monkeypatch.setattr(TrainingClock, "on_step_end", on_step_end)
    worker.run_arm(killed)

    first, second = (json.loads((run / "result.json").read_text()) for run in (whole, killed))
    for result in (first, second):
        assert [check["step"] for check in result["checks"]] == [2, 4, 6]
        seconds = [entry["train_seconds"] for entry in result["log"]]
        assert seconds == sorted(seconds)
        assert 0 < seconds[0] < seconds[-1]
    assert first["marks"] == second["marks"]
    losses = [
        [entry["eval_lm_loss"] for entry in result["log"] if "eval_lm_loss" in entry] for result in (first, second)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert [len(of_run) for of_run in losses] == [6, 6]
    assert not (killed / "training").exists()

    monkeypatch.setattr(worker, "train", lambda *arguments: pytest.fail("trained again"))
    worker.run_arm(killed)


def test_a_run_of_minutes_ends_by_the_clock(folder, tmp_path, monkeypatch):
    monkeypatch.setitem(interface.MAX_NEW_TOKENS, "slots", 2)
    run = plan(folder, tmp_path, "supervision-ce", minutes=0.02)
    worker.run_arm(run)
    result = json.loads((run / "result.json").read_text())
    assert result["minutes"] == 0.02
    assert result["checks"][-1]["train_seconds"] >= 1.2
    assert "eval_lm_loss" in {key for entry in result["log"] for key in entry}
    assert "eval_cosine" not in {key for entry in result["log"] for key in entry}


def test_two_processes_do_not_train_one_run(folder, tmp_path):
    import fcntl

    run = plan(folder, tmp_path, "supervision-ce", steps=6)
    with (run / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = subprocess.run(
            [sys.executable, "-m", "aura_research.ablations.worker", run], capture_output=True, text=True, check=False
        )  # fmt: skip
    assert done.returncode == 1
    assert "another process is at" in done.stderr


@pytest.mark.slow
def test_two_arms_with_two_seeds_by_the_command(folder, tmp_path, capsys):
    out = tmp_path / "out"
    common = [str(folder / "corpus"), "--out", str(out), "--only", "supervision", "--seeds", "0", "1", "--steps", "6",
              "--recordings", str(folder / "recordings"), "--recipe", str(folder / "recipe.yaml"),
              "--arms", str(folder / "arms.yaml")]  # fmt: skip
    assert command.main(common) == 0, "\n".join(path.read_text()[-2000:] for path in out.glob("*/*/log.txt"))
    assert "0 of 4 runs are done." in capsys.readouterr().out
    results = load_results(out, ["supervision-ce", "supervision-both"])
    assert {name: list(runs) for name, runs in results.items()} == {
        "supervision-ce": [0, 1],
        "supervision-both": [0, 1],
    }
    ce, both = results["supervision-ce"], results["supervision-both"]
    assert ce[0].value_at("eval_lm_loss", "step", 6) != ce[1].value_at("eval_lm_loss", "step", 6)
    assert ce[0].curve("eval_cosine") == []
    assert len(both[0].curve("eval_cosine")) == 6
    assert both[0].marks_at("real", "step", 6) is not None

    report = tmp_path / "docs" / "ablations.md"
    assert command.main([*common, "--publish", str(report)]) == 0
    text = report.read_text()
    assert "| both | ce | at equal steps (6) | orders right, synthetic |" in text
    assert "## scope" not in text
    assert str(tmp_path) not in text
    scope = [part if part != "supervision" else "scope" for part in common]
    assert command.main([*scope, "--publish", str(tmp_path / "scope.md")]) == 0
    assert "| audio | `model.lora_scope=audio` | not run |" in (tmp_path / "scope.md").read_text()
    elsewhere = [tmp_path / "nothing" if part == str(out) else part for part in common]
    assert command.main([*map(str, elsewhere), "--publish", str(report)]) == 0
    assert report.read_text() == text  # of the runs that were kept beside it
    assert command.main(common) == 0
    assert "4 of 4 runs are done." in capsys.readouterr().out


def test_a_run_that_fails_is_said_and_does_not_stop_the_others(folder, tmp_path, capsys, monkeypatch):
    from aura_research.ablations import runner

    def start(folder, core):
        return subprocess.Popen(["false" if "-ce" in str(folder) else "true"])

    monkeypatch.setattr(runner, "_start", start)
    groups = load_groups(folder / "arms.yaml")
    runs = plan_runs(groups, [0], folder / "corpus", folder / "none", Budget(steps=6), folder / "recipe.yaml")
    assert runner.run_all(tmp_path, runs, poll_seconds=0.01) == ["supervision-ce/seed-0"]
    said = capsys.readouterr().out
    assert "supervision-ce, seed 0: failed, see" in said
    assert "supervision-both, seed 0: done" in said


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system does not pin processes")
def test_runs_have_a_core_each():
    from aura_research.ablations import runner

    assert set(runner.available_cores()) == os.sched_getaffinity(0)
