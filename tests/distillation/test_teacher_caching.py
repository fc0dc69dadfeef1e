import json

import pytest

from tests.cli.test_main import run
from tests.distillation.streams.support import write_json_lines, write_tars
from tests.support.tiny_models import tiny_student
from tests.support.training import write_recipe
from transformers_aura.distillation.recipe import load_recipe, training_arguments
from transformers_aura.distillation.recipe_run import build_trainer
from transformers_aura.distillation.teacher import AuraTeacher
from transformers_aura.processing.processing_aura import AuraProcessor


def settings_for(folder, source, **more):
    values = {
        "data.train": json.dumps([{"source": str(source)}]),
        "data.stream": "true",
        "losses.teacher_cache_dir": folder / "cache",
        "training.output_dir": folder / "out",
        "training.train_sampling_strategy": "random",
        "training.max_steps": "2",
        "model.character_ctc_alphabet": "null",
        "losses.character_ctc_weight": "0",
        **more,
    }
    return [f"{key}={value}" for key, value in values.items()]


def command(recipe, settings, *more):
    return [
        "cache-teacher",
        "--config",
        str(recipe),
        *(part for value in settings for part in ("--set", value)),
        *more,
    ]


@pytest.mark.parametrize("kind", ["tars", "lines", "a later stage"])
def test_parts_fill_a_cache_and_the_training_needs_no_teacher(tmp_path, capsys, monkeypatch, kind):
    recipe = write_recipe(tmp_path / "models")
    if kind == "tars":
        write_tars(tmp_path / "data", [3, 2])
        settings = settings_for(tmp_path, tmp_path / "data")
    else:
        write_json_lines(tmp_path / "data", 5)
        settings = settings_for(tmp_path, tmp_path / "data", **{"data.stream": "false"})
    if kind == "a later stage":
        student = tiny_student(tmp_path / "models" / "base", frames_per_token=16, lora_num_layers=1)
        student.save_pretrained(tmp_path / "first")
        AuraProcessor.from_language_model_pretrained(
            tmp_path / "models" / "base", frames_per_token=16
        ).save_pretrained(tmp_path / "first")
        settings.append(f"model.student={tmp_path / 'first'}")
    for part in ("1/2", "2/2"):
        code, printed, err = run(capsys, *command(recipe, settings, "--shard", part))
        assert code == 0, err
    code, printed, err = run(capsys, *command(recipe, settings))
    assert code == 0, err
    assert "5 clips, 0.00 hours: 0 computed (0 bytes), 5 were there; 0 cannot be read" in printed
    assert len(list((tmp_path / "cache").rglob("*.safetensors"))) == 2

    def no_pass(*arguments, **keywords):
        raise AssertionError("the teacher was asked")

    monkeypatch.setattr(AuraTeacher, "__call__", no_pass)
    loaded = load_recipe(recipe, settings)
    trainer = build_trainer(loaded, training_arguments(loaded))
    trainer.train()
    assert trainer.state.log_history[0]["cosine_loss"] > 0


def test_what_cannot_be_read_is_named_and_the_rest_is_kept(tmp_path, capsys):
    recipe = write_recipe(tmp_path / "models")
    write_json_lines(tmp_path / "data", 4)
    (tmp_path / "data" / "2.flac").write_bytes(b"fLaC no")
    code, printed, err = run(capsys, *command(recipe, settings_for(tmp_path, tmp_path / "data")))
    assert code == 1
    assert "3 clips" in printed
    assert "1 cannot be read" in printed
    assert "manifest.jsonl, line 3" in err


@pytest.mark.parametrize(
    ("settings", "more", "message"),
    [
        ({"losses.teacher_cache_dir": "null"}, (), "names no cache"),
        ({"losses.supervision": "transcript"}, (), "nothing in this recipe learns from the teacher"),
        ({}, ("--shard", "3/2"), "--shard is the number of this part"),
        ({"training.max_steps": "-1"}, (), "Set training.max_steps"),
    ],
)
def test_errors_for_people(tmp_path, capsys, settings, more, message):
    recipe = write_recipe(tmp_path / "models")
    write_tars(tmp_path / "data", [1])
    code, _, err = run(capsys, *command(recipe, settings_for(tmp_path, tmp_path / "data", **settings), *more))
    assert code == 2
    assert message in " ".join(err.replace("│", " ").split())
