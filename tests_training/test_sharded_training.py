"""A training over two processes is that of one: with whole copies of the base LLM (DDP) and with the base LLM in shards (FSDP2)."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.distillation.support import assert_same_weights
from tests_training.sharded_run import ON_POLICY, RESTING_LORA, run
from transformers_aura import AuraForSpeechQA
from transformers_aura.distillation.checkpoint_files import CHECKSUMS_FILE_NAME, check_checkpoint


# A float32 sum in another order differs by a few 6e-8 of its largest terms. Losses are sums of hundreds of such sums, and what Adam makes of a gradient
# differs by no more than the gradient itself, at a learning rate as large as `adam_epsilon`.
LOSS = {"rel": 1e-4, "abs": 1e-5}
WEIGHT = {"rtol": 0.0, "atol": 1e-6}
# bfloat16 rounds states, their gradients and what is saved by 2**-8 of their size; the float32 weights of checkpoints by less, at these learning rates.
HALF_LOSS = {"rel": 2**-7, "abs": 2**-7}
HALF_WEIGHT = {"rtol": 2**-7, "atol": 2e-4}
# Rounded gradients cancel in sums over positions; a processor that multiplies bfloat16 itself rounds otherwise for other shapes.
HALF_NORM = {"rel": 2**-5}


SCRIPT = str(Path(__file__).with_name("sharded_run.py"))
TORCHRUN = ("torch.distributed.run", "--standalone", "--nproc_per_node", "2")
ACCELERATE = ("accelerate.commands.launch", "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no")


def start(launcher: Sequence[str], *arguments: str) -> subprocess.CompletedProcess:
    """Run a script by a launcher, a module and its options; CPUs talk over gloo."""
    paths = os.pathsep.join([*sys.path, os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": paths}
    command = [sys.executable, "-m", *launcher, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Of all trainings: one process, then two, then four, then one that goes on where two stopped."""
    folder = tmp_path_factory.mktemp("sharded")
    run(folder, "one", 1)
    run(folder, "one_resting_lora", 1, **RESTING_LORA)
    run(folder, "one_on_policy", 1, **ON_POLICY)
    run(folder, "one_resting_lora", 1, **RESTING_LORA)
    sharded = ("--num_processes", "4", "--use_fsdp", "--fsdp_version", "2", "--fsdp_sharding_strategy", "HYBRID_SHARD")
    for launcher, arguments in (TORCHRUN, []), ((*ACCELERATE, *sharded), ["nodes"]):
        result = start(launcher, SCRIPT, str(folder), *arguments)
        assert result.returncode == 0, result.stderr[-8000:]
    run(folder, "one_of_fsdp", 1, folder / "fsdp" / "checkpoint-2")
    return folder


def measured(folder: Path, name: str) -> dict[str, Any]:
    return json.loads((folder / f"{name}.json").read_text())


def assert_same_training(folder: Path, name: str, expected: str) -> None:
    """Losses of every step, evaluation and saved files of two trainings."""
    found, wanted = measured(folder, name), measured(folder, expected)
    loss, weight, norm = (HALF_LOSS, HALF_WEIGHT, HALF_NORM) if name.endswith("bfloat16") else (LOSS, WEIGHT, LOSS)
    for first, second in zip(wanted["logs"], found["logs"], strict=True):
        assert first.keys() == second.keys()
        for figure in first.keys() - {"epoch", "step", "on_policy/generation_seconds"}:
            tolerance = norm if figure == "grad_norm" else loss
            assert second[figure] == pytest.approx(first[figure], **tolerance), figure
    assert found["metrics"].keys() == wanted["metrics"].keys()
    for figure, value in wanted["metrics"].items():
        assert found["metrics"][figure] == pytest.approx(value, **loss), figure
    for file in ("model.safetensors", "checkpoint-4/model.safetensors", "checkpoint-4/distillation_heads.safetensors"):
        assert_same_weights(load_file(folder / expected / file), load_file(folder / name / file), **weight)
    for file in ("config.json", "processor_config.json", "tokenizer_config.json"):
        assert (folder / name / file).read_text() == (folder / expected / file).read_text()


def assert_stopped_together(folder: Path, name: str) -> None:
    """What two processes said of a loss that was no number in one of them."""
    for process in (0, 1):
        said = (folder / f"{name}-diverged-{process}.txt").read_text()
        assert re.search(r"at step 2 the loss is nan.*last finite loss was [\d.]+, at step 1", said), said
    checkpoint = folder / f"{name}_diverged" / "checkpoint-1"
    check_checkpoint(checkpoint)
    assert (checkpoint / CHECKSUMS_FILE_NAME).read_text().count("rng_state") == 2


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ddp", "one"),
        ("ddp_on_policy", "one_on_policy"),
        ("fsdp", "one"),
        ("fsdp_of_one", "one"),
        ("one_of_fsdp", "one"),
        ("nodes", "one"),
        ("fsdp_resting_lora", "one_resting_lora"),
        ("fsdp_bfloat16", "ddp_bfloat16"),
    ],
)
def test_losses_answers_and_weights_are_the_same(folder, name, expected):
    assert_same_training(folder, name, expected)


@pytest.mark.parametrize(("name", "kinds"), [("one", ["Parameter"]), ("ddp", ["Parameter"]), ("fsdp", ["DTensor"])])
def test_the_frozen_layers_are_in_shards_only_where_asked_for(folder, name, kinds):
    assert measured(folder, name)["kinds"] == kinds


def test_each_node_holds_the_base_llm_once(folder):
    assert [measured(folder, f"mesh-{process}") for process in range(4)] == [[0, 1], [0, 1], [2, 3], [2, 3]]


@pytest.mark.parametrize(
    ("launcher", "message"),
    [
        (TORCHRUN, "2 processes were started, but no GPU is there"),
        ((*ACCELERATE, "--num_processes", "2", "--cpu"), "asked for several processes and started one"),
    ],
)
def test_processes_that_would_train_alone_are_refused(tmp_path, launcher, message):
    if torch.cuda.is_available():
        pytest.skip("with a GPU they would not be alone")
    script = tmp_path / "script.py"
    script.write_text(
        "from transformers_aura.distillation.training_args import AuraTrainingArguments\nAuraTrainingArguments('out')\n"
    )
    result = start(launcher, str(script))
    assert result.returncode != 0
    assert message in result.stderr


def test_a_student_in_shards_is_no_student_for_another_trainer(folder):
    assert "in shards already" in (folder / "sharded_twice.txt").read_text()


def test_a_student_in_shards_is_not_asked_while_it_trains(folder):
    assert "leave out `on_policy_weight`" in (folder / "sharded_on_policy.txt").read_text()


def test_what_is_saved_is_the_compact_repo(folder):
    for name in ("one", "fsdp"):
        student = AuraForSpeechQA.from_pretrained(folder / name)
        saved = load_file(folder / name / "model.safetensors")
        assert sum(tensor.numel() for tensor in saved.values()) == sum(
            parameter.numel() for parameter in student.parameters() if parameter.requires_grad
        )
    files = [{path.name for path in (folder / name).iterdir() if path.is_file()} for name in ("one", "fsdp")]
    assert files[0] == files[1]


@pytest.mark.parametrize("name", ["ddp", "fsdp"])
def test_both_processes_stop_when_the_loss_of_one_is_no_number(folder, name):
    assert_stopped_together(folder, name)
