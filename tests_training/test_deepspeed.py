"""A training over two processes with DeepSpeed's ZeRO is that of one process, to its files."""

import json
import re
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from tests_training.sharded_run import ON_POLICY, RESTING_LORA, run
from tests_training.test_sharded_training import (
    ACCELERATE,
    TORCHRUN,
    assert_same_training,
    assert_stopped_together,
    start,
)


if find_spec("deepspeed") is None:
    pytest.skip("needs DeepSpeed: make test-deepspeed", allow_module_level=True)

SCRIPT = str(Path(__file__).with_name("deepspeed_run.py"))
LAUNCHED = ("--num_processes", "2", "--use_deepspeed", "--zero_stage", "2", "--gradient_accumulation_steps", "2")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Of all trainings: one process, then two by each launcher, then one that goes on where two stopped."""
    folder = tmp_path_factory.mktemp("deepspeed")
    run(folder, "one", 1)
    run(folder, "one_resting_lora", 1, **RESTING_LORA)
    run(folder, "one_on_policy", 1, **ON_POLICY)
    for launcher, arguments in (TORCHRUN, []), ((*ACCELERATE, *LAUNCHED), ["launched"]):
        result = start(launcher, SCRIPT, str(folder), *arguments)
        assert result.returncode == 0, result.stderr[-8000:]
    assert start(TORCHRUN, SCRIPT, str(folder), "killed").returncode != 0
    assert [path.name for path in (folder / "killed").glob("checkpoint-*")] == ["checkpoint-2"]
    run(folder, "killed", 1, folder / "killed" / "checkpoint-2")
    run(folder, "one_of_zero1", 1, folder / "zero1" / "checkpoint-2")
    run(folder, "one_of_zero2", 1, folder / "zero2" / "checkpoint-2")
    run(folder, "one_of_zero3", 1, folder / "zero3" / "checkpoint-2")
    return folder


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("zero1", "one"),
        ("zero2", "one"),
        ("zero3", "one"),
        ("zero2_of_one", "one"),
        ("launched", "one"),
        ("killed", "one"),
        ("one_of_zero1", "one"),
        ("one_of_zero2", "one"),
        ("one_of_zero3", "one"),
        ("zero2_on_policy", "one_on_policy"),
        ("zero2_resting_lora", "one_resting_lora"),
        ("zero3_resting_lora", "one_resting_lora"),
        ("zero2_bfloat16", "ddp_bfloat16"),
        ("zero3_bfloat16", "fsdp_bfloat16"),
    ],
)
def test_losses_answers_and_weights_are_the_same(folder, name, expected):
    assert_same_training(folder, name, expected)


@pytest.mark.parametrize("name", ["zero1", "zero2", "zero3", "zero2_of_one", "launched"])
def test_checkpoints_hold_the_files_of_one_process(folder, name):
    found, wanted = (folder / each / "checkpoint-4" for each in (name, "one"))
    files, expected_files = ({path.name for path in each.iterdir()} for each in (found, wanted))
    assert {each for each in files if "rng_state" not in each} == {
        each for each in expected_files if "rng_state" not in each
    }
    state, expected = (torch.load(each / "optimizer.pt", weights_only=True) for each in (found, wanted))
    torch.testing.assert_close(state["state"], expected["state"], rtol=0.0, atol=1e-5)
    assert state["param_groups"] == expected["param_groups"]


def test_each_process_holds_its_part_of_the_optimizer(folder):
    for process in (0, 1):
        for held, trained in json.loads((folder / f"held-{process}.json").read_text()):
            assert held == pytest.approx(trained, rel=0.01), "two moments of half of the weights"


def test_deepspeed_around_the_model_would_give_other_gradients(tmp_path):
    result = start(TORCHRUN, "-m", "tests_training.deepspeed_alone", str(tmp_path), "2")
    assert float(re.findall(r"largest relative difference of a gradient: (\S+)", result.stdout)[0]) > 1


def test_what_the_launcher_asked_for_was_done(folder):
    for process in (0, 1):
        assert (folder / f"launched-{process}.txt").read_text() == "Zero(stage=2, buckets={})"


def test_a_student_in_shards_is_not_asked_while_it_trains(folder):
    assert "leave out `on_policy_weight`" in (folder / "zero3_on_policy.txt").read_text()


@pytest.mark.parametrize("name", ["zero2", "zero3"])
def test_both_processes_stop_when_the_loss_of_one_is_no_number(folder, name):
    assert_stopped_together(folder, name)
