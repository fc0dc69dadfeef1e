"""What the stages of the packaged student are told; the training itself is tested elsewhere."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from aura_research import train
from aura_research.places import RECIPES
from aura_research.precision import FLOAT32
from transformers_aura.distillation.recipe import load_recipe, training_arguments


@pytest.fixture(autouse=True)
def models(monkeypatch, tmp_path):
    monkeypatch.setattr(train, "make_real_model", lambda name: tmp_path / "models" / name)


@pytest.mark.parametrize("name", [*train.STAGES, *train.GPU_STAGES])
def test_settings_of_a_stage_lead_below_the_outputs(name, tmp_path):
    outputs = tmp_path / "out"
    (outputs / "corpus" / "noise").mkdir(parents=True)
    (outputs / "corpus" / "noise" / "kitchen.flac").touch()
    content = yaml.safe_load((RECIPES / f"{name}.yaml").read_text())
    on_any_machine = ["training.use_cpu=true"] if name in train.GPU_STAGES else []
    recipe = load_recipe(RECIPES / f"{name}.yaml", [*train.stage_settings(content, outputs), *on_any_machine])
    assert all(Path(source.source).parent == outputs / "corpus" for source in recipe.data.train)
    assert recipe.data.augmentation.noise_files == [str(outputs / "corpus" / "noise" / "kitchen.flac")]
    arguments = training_arguments(recipe)
    assert Path(arguments.output_dir).parent == outputs
    assert recipe.model.base_model == str(tmp_path / "models" / "smollm2-135m-instruct")


@pytest.mark.parametrize("name", train.STAGES)
def test_a_stage_of_few_steps_goes_on_from_the_last_of_the_one_before(name, tmp_path):
    content = yaml.safe_load((RECIPES / f"{name}.yaml").read_text())
    before = Path(content["model"].get("student", "outputs/none"))
    if before.name.startswith("checkpoint-"):
        before = tmp_path / before.parent.name / "checkpoint-2"
        before.mkdir(parents=True)
    settings = [*train.stage_settings(content, tmp_path), *train.few_steps(content, 2), *FLOAT32]
    recipe = load_recipe(RECIPES / f"{name}.yaml", settings)
    assert recipe.model.student in (None, str(before), str(tmp_path / "aura-smollm2-135m-reshaped"))
    arguments = training_arguments(recipe)
    assert (arguments.max_steps, arguments.warmup_steps) == (2, 0)
    assert (arguments.lr_scheduler_kwargs or {}).get("num_decay_steps", 2) == 2


def test_every_stage_goes_on_from_the_one_before():
    first, second, third, fourth, fifth, sixth, seventh = (
        yaml.safe_load((RECIPES / f"{name}.yaml").read_text()) for name in (*train.STAGES, *train.GPU_STAGES)
    )
    with_heads = [(first, second), (fourth, fifth), (fifth, sixth), (sixth, seventh)]
    for stage, next_stage in with_heads:  # those of its last checkpoint
        last = f"checkpoint-{stage['training']['max_steps']}"
        assert next_stage["model"]["student"] == f"outputs/{stage['name']}/{last}"
        if next_stage["losses"]["supervision"] != "transcript":
            assert next_stage["losses"]["layer_mapping"] == stage["losses"]["layer_mapping"]
    assert (
        fourth["model"]["student"] == "outputs/aura-smollm2-135m-swapped/checkpoint-0"
    )  # the third's, with another patch embedding
    assert fourth["losses"]["layer_mapping"] == third["losses"]["layer_mapping"]
    # A stage that makes a CTC head trains it, and so do all after it.
    stages = [first, second, third, fourth, fifth, sixth, seventh]
    for setting, weight, maker in (
        ("character_ctc_alphabet", "character_ctc_weight", first),
        ("subword_ctc_layer", "subword_ctc_weight", fourth),
    ):
        assert [stage for stage in stages if setting in stage["model"]] == [maker]
        trained = [stage["losses"].get(weight, 0) > 0 for stage in stages]
        assert trained == [index >= stages.index(maker) for index in range(len(stages))]


def test_the_stages_for_a_gpu_run_in_one_process_and_only_if_asked_for(tmp_path, monkeypatch):
    commands = []
    monkeypatch.setattr(
        train.subprocess, "run", lambda command, **_: commands.append(command) or SimpleNamespace(returncode=0)
    )
    train.train_stage(train.GPU_STAGES[0], tmp_path, [])
    assert commands[0][commands[0].index("--nproc_per_node") + 1] == "1"
    trained = []
    monkeypatch.setattr(train, "train_stage", lambda name, *_: trained.append(name))
    for arguments, stages in (([], train.STAGES), (["--gpu"], (*train.STAGES, *train.GPU_STAGES))):
        trained.clear()
        monkeypatch.setattr("sys.argv", ["train", str(tmp_path), *arguments])
        train.main()
        assert tuple(trained) == stages


def test_without_the_noise_recording_there_is_none(tmp_path):
    content = yaml.safe_load((RECIPES / f"{train.STAGES[0]}.yaml").read_text())
    assert "data.augmentation.noise_files=[]" in train.stage_settings(content, tmp_path)


def test_a_stage_that_is_done_is_left_alone(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(train.subprocess, "run", lambda *_, **__: pytest.fail("it was trained again"))
    (tmp_path / "aura-smollm2-135m-stage2").mkdir()
    (tmp_path / "aura-smollm2-135m-stage2" / "README.md").touch()
    train.train_stage(train.STAGES[1], tmp_path, [])
    assert "Trained already" in capsys.readouterr().out


def test_the_further_stages_start_from_the_second_in_another_shape(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(train, "reshape_student", lambda *folders, **shape: asked.append((folders, shape)))
    monkeypatch.setattr(
        train.subprocess, "run", lambda command, **_: asked.append(command) or SimpleNamespace(returncode=0)
    )
    train.train_stage(train.STAGES[2], tmp_path, [])
    (folders, shape), command = asked
    assert folders == (tmp_path / "aura-smollm2-135m-stage2", tmp_path / "aura-smollm2-135m-reshaped")
    assert shape == train.SHAPE
    assert f"model.student={tmp_path / 'aura-smollm2-135m-reshaped'}" in command


def test_the_fourth_stage_starts_from_the_third_with_another_patch_embedding(tmp_path, monkeypatch):
    commands = []
    monkeypatch.setattr(
        train.subprocess, "run", lambda command, **_: commands.append(command) or SimpleNamespace(returncode=0)
    )
    for step in (900, 1000):
        (tmp_path / "aura-smollm2-135m-stage3" / f"checkpoint-{step}").mkdir(parents=True)
    train.train_stage(train.STAGES[3], tmp_path, [])
    swap, distil = commands
    swapped = tmp_path / "aura-smollm2-135m-swapped" / "checkpoint-0"
    at = swap.index("aura_research.swap_patch_embedding")
    assert swap[at + 2 : at + 4] == [str(tmp_path / "aura-smollm2-135m-stage3" / "checkpoint-1000"), str(swapped)]
    assert f"model.student={swapped}" in distil
    swapped.mkdir()
    train.train_stage(train.STAGES[3], tmp_path, [])
    assert len(commands) == 3, "swapped once"
