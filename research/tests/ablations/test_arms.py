"""The arms: every one is a recipe that can be trained, and differs from its reference in nothing but what it says."""

import pytest
from transformers import LlamaConfig, WhisperConfig

from aura_research.ablations.arms import RECIPE, AblationError, load_groups, select_groups
from aura_research.ablations.plan import Budget, _arm_settings, data_settings
from transformers_aura.distillation.plan import plan_training
from transformers_aura.distillation.recipe import load_recipe, training_arguments


GROUPS = load_groups()
ARMS = {arm.run: arm for group in GROUPS for arm in group.arms}
SMOLLM2 = LlamaConfig(
    vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9,
    num_key_value_heads=3, head_dim=64, tie_word_embeddings=True,
)  # fmt: skip
WHISPER_SIZES = {"openai/whisper-tiny.en": (384, 4, 6), "openai/whisper-base": (512, 6, 8)}


@pytest.mark.parametrize("arm", ARMS.values(), ids=list(ARMS))
def test_every_arm_is_a_recipe_that_can_be_trained(arm, tmp_path):
    folders = [tmp_path / "orders", tmp_path / "real_orders"]
    settings = [*data_settings(folders), *_arm_settings(arm, 2, Budget(steps=300), RECIPE)]
    recipe = load_recipe(RECIPE, [*settings, "training.bf16=false", f"training.output_dir={tmp_path}"])
    arguments = training_arguments(recipe)
    width, layers, heads = WHISPER_SIZES[recipe.teacher.model]
    teacher = WhisperConfig(d_model=width, encoder_layers=layers, encoder_attention_heads=heads)
    plan = plan_training(recipe, arguments, SMOLLM2, teacher)
    assert arguments.character_ctc_weight == 0 or plan.student.config.character_ctc_alphabet is not None
    assert (plan.num_head_parameters > 0) == (arguments.supervision != "transcript")
    if recipe.model.init_from_teacher:
        assert plan.student.model.embed_audio.conv1.out_channels == width
    # Else there is no cross-entropy to compare; what is distilled alone is compared by its cosine.
    assert arguments.supervision == "distillation" or arguments.lm_weight > 0


def test_equal_arms_are_run_once_and_every_reference_is_among_them():
    assert len({(group.name, arm.name) for group in GROUPS for arm in group.arms}) > len(ARMS)
    for group in GROUPS:
        assert group.arm(group.reference)
        assert len(group.comparisons) >= len(group.arms) - 1


def test_settings_of_a_group_are_those_of_all_its_arms(tmp_path):
    (tmp_path / "arms.yaml").write_text(
        "first: {question: Why, reference: a, arms: {a: [x=1, y=2]}}\n"
        "second: {question: Why, reference: b, settings: [y=2], arms: {b: [x=1], c: []}}\n"
    )
    first, second = load_groups(tmp_path / "arms.yaml")
    assert second.arm("b").settings == ("y=2", "x=1")
    assert second.arm("b").run == first.arm("a").run == "first-a"
    assert (second.arm("c").settings, second.arm("c").run) == (("y=2",), "second-c")


def test_arms_of_equal_settings_and_other_data_are_other_runs(tmp_path):
    (tmp_path / "arms.yaml").write_text(
        "first: {question: Why, reference: a, arms: {a: [x=1]}}\n"
        "second: {question: Why, reference: b, parts: [questions], arms: {b: [x=1]}}\n"
    )
    first, second = load_groups(tmp_path / "arms.yaml")
    assert (first.parts, first.arm("a").run) == (("orders", "real_orders"), "first-a")
    assert (second.parts, second.arm("b").run) == (("questions",), "second-b")


def test_supervision_arms_differ_in_what_teaches_alone():
    supervision = select_groups(GROUPS, ["supervision"])[0]
    assert all(setting.startswith("losses.") for arm in supervision.arms for setting in arm.settings)


def test_a_third_of_the_steps_follows_the_budget():
    arm = ARMS["supervision-distil_first"]
    assert "losses.distillation_warmup_steps=100" in _arm_settings(arm, 2, Budget(steps=300), RECIPE)
    assert "losses.distillation_warmup_steps=120" in _arm_settings(arm, 2, Budget(minutes=5), RECIPE)
    longer = _arm_settings(arm, 2, Budget(minutes=5), RECIPE, ["training.max_steps=600"])
    assert "losses.distillation_warmup_steps=200" in longer


def test_a_source_that_is_not_there_is_not_set():
    arm = ARMS["data_size-1_of_4"]
    assert "data.train.1.repeat=0.25" in _arm_settings(arm, 2, Budget(), RECIPE)
    assert "data.train.1.repeat=0.25" not in _arm_settings(arm, 1, Budget(), RECIPE)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("g: {question: Why, reference: a}", "'g' lacks 'arms'"),
        ("g: {question: Why, reference: b, arms: {a: []}}", "compares with 'b', but its arms are a"),
        ("g: {question: Why, reference: a, arms: {a: []}, also: [[a, c]]}", "compares with 'c'"),
        ("g: {question: Why, reference: a, arms: {a: [training.seed]}}", "a setting is key=value"),
        ("g: {question: Why, reference: a, arms: {a: []}, compare: []}", "no setting 'compare'"),
        ("g: {question: Why, reference: a, arms: {a: []}, parts: questions}", r"a list of parts .* got 'questions'"),
        ("g: {question: Why, reference: a, arms: {a: []}, parts: []}", "a list of parts"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(tmp_path, text, message):
    (tmp_path / "arms.yaml").write_text(text)
    with pytest.raises(AblationError, match=message):
        load_groups(tmp_path / "arms.yaml")


def test_an_unknown_group_is_named():
    with pytest.raises(AblationError, match="no group 'supervison'; there are supervision, answer_kl, central_claim"):
        select_groups(GROUPS, ["supervison"])
