"""The report says what was run and what was not, and claims only what an interval settles."""

import pytest

from aura_research.ablations.arms import load_groups
from aura_research.ablations.figure import mean_curve
from aura_research.ablations.report import as_markdown, write_report
from research.tests.ablations.support import made_up_run, write_arms


RIGHT, WRONG = [True] * 20, [False] * 20


@pytest.fixture
def groups(tmp_path):
    return load_groups(write_arms(tmp_path / "arms.yaml"))


@pytest.fixture
def results():
    return {
        "supervision-ce": {seed: made_up_run("supervision-ce", seed, [WRONG]) for seed in (0, 1)},
        "supervision-both": {
            seed: made_up_run("supervision-both", seed, [RIGHT], 2.0, (3.0, 2.0, 0.5 + 0.001 * seed))
            for seed in (0, 1)
        },
        "scope-audio": {},
    }


def test_report_content(groups, results):
    text = as_markdown(groups, results, "pictures")
    assert "4 runs, 0.1 hours of training, a core for each run: a machine." in text
    assert "its core for 90% of its time" in text
    assert "`python -m aura_research.ablations CORPUS --only supervision --seeds 0 1 --steps 30`" in text
    assert (
        "| ce | `losses.supervision=transcript`<br>`losses.character_ctc_weight=0`<br>`model.character_ctc_alphabet=null` | 0, 1 | 0.0% (0.0% to 8.8%), 0 of 40"
        in text
    )
    assert "| audio | `model.lora_scope=audio` | not run |" in text
    assert (
        "| both | ce | at equal steps (30) | orders right, synthetic | +100.0 points (+100.0 to +100.0) | 2 | better |"
        in text
    )
    assert "- supervision: **both** is better than ce at equal steps (30), cross-entropy: 0.50 times" in text
    assert "**both** is better than ce at equal time (0.5 min), orders right, synthetic" in text
    assert "**both** is worse than ce at equal time (0.5 min), cross-entropy: 2.50 times" in text
    assert "6 differences were looked at" in text
    assert "no clips" in text  # of real people
    assert "- **Orders right**: every labelled slot" in text
    assert "](pictures/supervision.png)" in text


def test_columns_are_what_was_logged(groups, results):
    header = (
        "| seeds | orders right, synthetic | orders right, real | cross-entropy | {}cosine to the teacher | steps |"
    )
    assert header.format("") in as_markdown(groups, results, "pictures")
    for entry in results["supervision-both"][0].log:
        entry["eval_answer_kl_loss"] = 0.25
    text = as_markdown(groups, results, "pictures")
    assert header.format("answer KL | ") in text
    assert "| 0.250 |" in text
    assert "| not taken |" in text  # by the other arm


def test_nothing_is_claimed_without_runs(groups):
    text = as_markdown(groups, {"supervision-ce": {}, "supervision-both": {}, "scope-audio": {}}, "pictures")
    assert "No run has finished yet." in text
    assert "Nothing: no two arms were run from the same seed." in text
    assert text.count("| not run |") == 4
    assert ".png" not in text


def test_what_no_interval_settles_is_not_claimed(groups):
    same = {0: made_up_run("a", 0, [RIGHT])}
    text = as_markdown(groups, {"supervision-ce": same, "supervision-both": same, "scope-audio": {}}, "pictures")
    assert "Nothing: every interval holds 0, or there is none." in text


def test_runs_that_were_not_asked_for_orders_are_compared_by_what_they_logged(groups, results, tmp_path):
    pytest.importorskip("matplotlib")
    for run in (run for runs in results.values() for run in runs.values()):
        run.checks.clear()
        run.marks.clear()
        run.common_settings.append("training.per_device_train_batch_size=2")
    text = as_markdown(groups, results, "pictures")
    assert "The students were not asked for answers" in text
    assert "| arm | settings | seeds | cross-entropy |" in text
    assert "| 0, 1 | 1.000" in text
    assert "orders" not in text.lower()
    assert "**both** is worse than ce at equal time (0.5 min), cross-entropy: 2.50 times" in text
    assert "--steps 30 --scorings 0 --evaluations 3 --set training.per_device_train_batch_size=2`" in text
    write_report(tmp_path / "ablations.md", groups, results)


def test_report_and_pictures_are_written(groups, results, tmp_path):
    pytest.importorskip("matplotlib")
    write_report(tmp_path / "docs" / "ablations.md", groups, results)
    assert (tmp_path / "docs" / "ablations.md").read_text().startswith("# Ablations\n")
    for name in ("supervision", "scope"):  # `rows` of scope shares its runs with `both`
        assert (tmp_path / "docs" / "ablations" / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_mean_curve_over_seeds():
    runs = {
        0: made_up_run("a", 0, [RIGHT], 1.0, (3.0, 2.0, 1.0)),
        1: made_up_run("a", 1, [RIGHT], 3.0, (4.0, 2.0, 2.0)),
    }
    assert mean_curve(runs, "eval_lm_loss", "train_seconds") == [
        (20.0, 3.5, 3.0, 4.0), (40.0, 2.0, 2.0, 2.0), (60.0, 1.5, 1.0, 2.0),
    ]  # fmt: skip
    assert mean_curve(runs, "eval_unknown", "step") == []
    for entry in runs[1].log:  # as where runs end after so many minutes
        entry["step"] += 2
    assert [values for _, *values in mean_curve(runs, "eval_lm_loss", "step")] == [
        [3.5, 3.0, 4.0],
        [2.0, 2.0, 2.0],
        [1.5, 1.0, 2.0],
    ]
