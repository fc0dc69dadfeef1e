"""A recipe is strict: a key that nothing uses, or a value that cannot be, is an error that names the key."""

from pathlib import Path

import pytest
import yaml

from transformers_aura.distillation.recipe import RecipeError, load_recipe, training_arguments
from transformers_aura.package_data import package_data_folder


MINIMAL = """\
name: tiny
model:
  base_model: org/base
  lora_rank: 4
teacher:
  model: org/whisper
data:
  train:
    - source: rows.jsonl
training:
  learning_rate: 1e-4
  use_cpu: true
  report_to: none
"""


@pytest.fixture
def recipe_file(tmp_path: Path) -> Path:
    file = tmp_path / "tiny.yaml"
    file.write_text(MINIMAL)
    return file


def test_values_arrive_where_they_belong(recipe_file: Path) -> None:
    recipe = load_recipe(recipe_file)
    assert recipe.model.student_settings() == {"lora_rank": 4}
    assert recipe.data.train[0].split == "train"
    arguments = training_arguments(recipe)
    assert arguments.learning_rate == 1e-4  # YAML 1.1 takes this spelling for text
    assert arguments.output_dir == "outputs/tiny"


def test_overrides_reach_every_level_and_the_card(recipe_file: Path) -> None:
    overrides = [
        "training.learning_rate=5e-4",
        "data.train.0.repeat=3",
        "losses.layer_mapping=[[1, 0], [2, 1]]",
        "model.tokens_per_block=clip",
        "card.license=mit",
    ]
    recipe = load_recipe(recipe_file, overrides)
    assert recipe.training["learning_rate"] == 5e-4
    assert recipe.data.train[0].repeat == 3
    assert recipe.model.student_settings() == {"lora_rank": 4, "tokens_per_block": None}
    assert recipe.card.license == "mit"
    assert training_arguments(recipe).parsed_layer_mapping == [(1, 0), (2, 1)]
    assert yaml.safe_load(recipe.text)["data"]["train"][0]["repeat"] == 3


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.lora_rnak=3", r"'model' has no setting 'lora_rnak'; did you mean 'lora_rank'"),
        ("modl.lora_rank=3", r"recipe has no setting 'modl'; did you mean 'model'"),
        ("data.train.0.colums={}", r"'data.train.0' has no setting 'colums'; did you mean 'columns'"),
        ("model.lora_rank=four", r"'model.lora_rank' must be a whole number, but is 'four'"),
        ("model.lora_rank=true", r"'model.lora_rank' must be a whole number, but is True"),
        ("model.lora_scope=row", r"'model.lora_scope' must be one of rows, audio, always"),
        ("model.answer_from=sound", r"'model.answer_from' must be one of audio, transcript"),
        ("model.lora_target_modules=q_proj", r"'model.lora_target_modules' must be a list"),
        ("model.base_model=null", r"'model.base_model' is missing"),
        ("data.train=rows.jsonl", r"'data.train' must be a list"),
        ("data.train.1.repeat=2", r"entries 0 to 0, not '1'"),
        ("name.x=2", r"nothing below 'x'"),
        ("training.max_steps", r"--set takes key=value"),
        ("training.max_steps=[1", r"not valid YAML"),
        ("training.max_steps=1e400", r"'training.max_steps' is inf \(float\); a number lies between"),
        ("losses.cosine_weight=.nan", r"'losses.cosine_weight' is nan"),
        ("training.seed=99999999999999999999", r"'training.seed' is 99999999999999999999"),
        (
            "model.lora_rank=1e9",
            r"'model.lora_rank' is 1000000000.0 \(float\); a number lies between -1e\+06 and 1e\+06",
        ),
        ("data.augmentation.snr_db=[1, .inf]", r"'data.augmentation.snr_db.1' is inf"),
        ("data.train.².repeat=1", r"entries 0 to 0, not '²'"),
        ("training.x=[" + "x" * 10_000, r"--set training.x=\[x{188}\.\.\.: the value is not valid YAML"),
    ],
)
def test_what_is_wrong_is_named(recipe_file: Path, override: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        load_recipe(recipe_file, [override])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.learning_rat=1", r"'training' has no setting 'learning_rat'; did you mean 'learning_rate'"),
        ("losses.cosine_wieght=1", r"'losses' has no setting 'cosine_wieght'; did you mean 'cosine_weight'"),
        ("losses.supervision=all", r"supervision='all'"),
        ("training.max_steps=many", r"'training.max_steps' must be a whole number, but is 'many'"),
        ("training.max_steps=1.5", r"'training.max_steps' must be a whole number, but is 1.5"),
        ("training.max_steps=0", r"`max_steps` must be at least 1, or -1 for whole epochs"),
        ("training.num_train_epochs=0", r"`num_train_epochs` must be above 0 and at most 1e9"),
        ("training.learning_rate=[1e-4]", r"'training.learning_rate' must be a number"),
        ("training.learning_rate=-1", r"`learning_rate` must be at least 0"),
        ("training.gradient_accumulation_steps=0", r"`gradient_accumulation_steps` must be at least 1"),
        ("training.per_device_train_batch_size=-2", r"`per_device_train_batch_size` must be at least 1"),
        ("training.seed=1e10", r"`seed` must be between 0 and 2\*\*32 - 1, got 10000000000"),
        ("losses.learning_rate=1", r"learning_rate stands in both"),
    ],
)
def test_training_arguments_are_checked(recipe_file: Path, override: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        training_arguments(load_recipe(recipe_file, [override]))


@pytest.mark.filterwarnings("error::FutureWarning")
def test_a_renamed_training_argument_is_taken_under_its_older_name(recipe_file: Path) -> None:
    arguments = training_arguments(load_recipe(recipe_file, ["training.gradient_checkpointing=true"]))
    assert getattr(arguments, "activation_checkpointing", arguments.gradient_checkpointing) is True


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: [", "not valid YAML"),
        ("just text", "must hold the sections name, model, teacher"),
        (MINIMAL + "name: twice\n", "'name' stands twice"),
        ("name: x\n", "'model' is missing"),
        (MINIMAL.encode("utf-16"), r"x\.yaml, line 1 is UTF-16 text"),
        (MINIMAL.encode() + b"note: caf\xe9\n", r"x\.yaml, line \d+ is not UTF-8"),
        (MINIMAL + "? [a]\n: 1\n", "a key is no list or mapping"),
        (MINIMAL + "x: " + "[" * 5000, "not valid YAML"),
        ("a: &a [*a]\n" + MINIMAL, "recipe has no setting 'a'"),
        (MINIMAL + "x: !!python/object/apply:os.getcwd []\n", "not valid YAML"),
    ],
)
def test_a_file_that_is_no_recipe(tmp_path: Path, text: str | bytes, message: str) -> None:
    file = tmp_path / "x.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(RecipeError, match=message):
        load_recipe(file)


def test_whole_numbers_may_be_written_with_an_exponent_and_parts_be_merged(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_bytes((MINIMAL + "card: &card {license: mit}\n").encode("utf-8-sig"))
    recipe = load_recipe(file, ["training.max_steps=1e3", "training.use_cpu=true"])
    assert training_arguments(recipe).max_steps == 1000
    assert recipe.card.license == "mit"
    file.write_text(MINIMAL + "losses: &losses {cosine_weight: 2}\ncard: {<<: {license: mit}, limits: [few]}\n")
    assert load_recipe(file).card.license == "mit"


def test_recipes_of_the_package_are_found_by_name_and_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for recipe in package_data_folder("recipes").glob("*.yaml"):
        assert load_recipe(recipe.stem) == load_recipe(recipe) == load_recipe(f"recipes/{recipe.name}")
    with pytest.raises(RecipeError, match=r"no recipe nothing.*qwen2\.5-7b-paper, smollm2-135m-quick"):
        load_recipe("nothing")
