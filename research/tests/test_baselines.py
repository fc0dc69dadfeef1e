"""What the baselines are told; their training is tested in tests/evaluation/baselines."""

from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest

from aura_research import train
from aura_research.baselines import training
from aura_research.baselines.training import BASELINES, baseline_folder, command_of, log_of, train_baselines
from transformers_aura.distillation.objectives import default_objectives
from transformers_aura.distillation.recipe import load_recipe, training_arguments
from transformers_aura.evaluation.baselines.bridge import write_bridge_file


@pytest.fixture(autouse=True)
def models(monkeypatch, tmp_path):
    for module in (train, training):
        monkeypatch.setattr(module, "make_real_model", lambda name: tmp_path / "models" / name)


def settings_of(command):
    return [value for flag, value in pairwise(command) if flag == "--set"]


@pytest.mark.parametrize("name", BASELINES)
def test_both_learn_from_the_same_rows_without_a_teacher(name, tmp_path):
    command = command_of(name, tmp_path)
    assert command[command.index("--bridge") + 1] == str(tmp_path / "models" / "whisper-tiny.en")
    recipe = load_recipe(str(training.RECIPE), settings_of(command))
    arguments = training_arguments(recipe)
    assert not any(objective.needs_teacher for objective in default_objectives(arguments).values())
    assert Path(arguments.output_dir) == baseline_folder(tmp_path, name)
    assert {Path(source.source).parent for source in recipe.data.train} == {tmp_path / "corpus"}
    assert (arguments.lm_weight > 0) == (name == "bridge")
    assert (arguments.answer_kl_weight > 0) == (recipe.model.subword_ctc_layer == 0) == (name == "diva")
    assert "--resume" not in command


def test_what_is_there_is_left_alone_or_gone_on_with(tmp_path, monkeypatch, capsys):
    started = []

    def popen(command, **_):
        started.append(command)
        return SimpleNamespace(wait=lambda: 1)

    monkeypatch.setattr(training.subprocess, "Popen", popen)
    baseline_folder(tmp_path, "bridge").mkdir()
    write_bridge_file(baseline_folder(tmp_path, "bridge"), "whisper")
    (baseline_folder(tmp_path, "diva") / "checkpoint-100").mkdir(parents=True)
    assert train_baselines(["bridge", "diva"], tmp_path) == ["diva"], "it failed"
    (command,) = started
    assert command[-1] == "--resume"
    assert f"training.output_dir={baseline_folder(tmp_path, 'diva')}" in command
    said = capsys.readouterr().out
    assert "Trained already" in said
    assert str(log_of(tmp_path, "diva")) in said
