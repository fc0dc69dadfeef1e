"""The plan: order of the runs, what they are told, and folders of other runs."""

import pytest

from aura_research.ablations.arms import AblationError, load_groups
from aura_research.ablations.plan import Budget, plan_runs, write_specs
from research.tests.ablations.support import write_arms
from tests.support.training import write_corpus, write_recipe
from transformers_aura.distillation.recipe import load_recipe, training_arguments


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plan")
    write_corpus(folder / "corpus")
    write_recipe(folder)
    write_arms(folder / "arms.yaml")
    return folder


def plan(folder, common=(), **budget):
    groups = load_groups(folder / "arms.yaml")
    return plan_runs(
        groups, [0, 1, 2], folder / "corpus", folder / "none", Budget(**budget), folder / "recipe.yaml", common
    )  # fmt: skip


def test_all_arms_of_a_seed_come_before_the_next_seed_and_in_another_order(folder, capsys):
    runs = plan(folder, steps=9)
    assert "so they are left out" in capsys.readouterr().out
    assert [run.seed for run in runs] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    orders = [[run.name for run in runs[start : start + 3]] for start in (0, 3, 6)]
    assert all(sorted(order) == ["scope-audio", "supervision-both", "supervision-ce"] for order in orders)
    assert len(set(map(tuple, orders))) > 1


def test_settings_reach_the_recipe(folder):
    run = next(run for run in plan(folder, steps=9) if run.name == "supervision-ce" and run.seed == 2)
    recipe = load_recipe(run.recipe, run.settings)
    arguments = training_arguments(recipe)
    assert (arguments.max_steps, arguments.seed, arguments.supervision) == (9, 2, "transcript")
    assert [source.split for source in recipe.data.evaluation] == ["validation"]
    assert run.minutes is None
    timed = plan(folder, minutes=2.5)[0]
    assert timed.minutes == 2.5
    assert training_arguments(load_recipe(timed.recipe, timed.settings)).max_steps > 10_000


def test_settings_of_all_arms_come_before_their_own(folder):
    runs = plan(folder, ["training.per_device_train_batch_size=2", "losses.character_ctc_weight=0.25"], steps=9)
    for run in runs:
        arguments = training_arguments(load_recipe(run.recipe, run.settings))
        assert arguments.per_device_train_batch_size == 2
        assert arguments.character_ctc_weight == (0 if run.name == "supervision-ce" else 0.25)
        assert run.common_settings == ["training.per_device_train_batch_size=2", "losses.character_ctc_weight=0.25"]


@pytest.mark.parametrize(("checks", "evaluations"), [(3, 4), (-1, 3), (0, 0)])
def test_a_run_is_evaluated_wherever_it_is_scored(checks, evaluations):
    with pytest.raises(AblationError, match=f"one at least; got {evaluations} and {checks}"):
        Budget(steps=9, num_checks=checks, num_evaluations=evaluations)


def test_a_folder_of_another_run_is_refused(folder, tmp_path):
    write_specs(tmp_path, plan(folder, steps=9))
    write_specs(tmp_path, plan(folder, steps=9))
    with pytest.raises(AblationError, match=r"holds a run of other settings \(settings\). Choose another --out"):
        write_specs(tmp_path, plan(folder, steps=12))


def test_a_corpus_without_orders_is_refused(folder, tmp_path):
    groups = load_groups(folder / "arms.yaml")
    with pytest.raises(AblationError, match=r"python -m aura_research\.corpus .* --only orders real_orders"):
        plan_runs(groups, [0], tmp_path, tmp_path, Budget(), folder / "recipe.yaml")


def test_a_group_of_other_data_learns_them_and_is_not_asked_for_orders(folder, tmp_path):
    write_corpus(tmp_path / "corpus")
    (tmp_path / "corpus" / "orders").rename(tmp_path / "corpus" / "questions")
    (tmp_path / "arms.yaml").write_text("g: {question: Why, reference: a, parts: [questions], arms: {a: []}}")
    groups = load_groups(tmp_path / "arms.yaml")
    (run,) = plan_runs(groups, [0], tmp_path / "corpus", folder / "none", Budget(steps=9), folder / "recipe.yaml")
    data = load_recipe(run.recipe, run.settings).data
    sources = [(source.source, source.split) for source in (*data.train, *data.evaluation)]
    questions = str(tmp_path / "corpus" / "questions")
    assert sources == [(questions, "train"), (questions, "validation")]
    assert run.num_checks == 0


def test_a_student_to_go_on_from_that_is_not_there_is_named(folder, tmp_path):
    absent = tmp_path / "absent"
    (tmp_path / "arms.yaml").write_text(f"g: {{question: Why, reference: a, arms: {{a: ['model.student={absent}']}}}}")
    groups = load_groups(tmp_path / "arms.yaml")
    with pytest.raises(AblationError, match=r"g-a goes on from a student that is not there: .*absent"):
        plan_runs(groups, [0], folder / "corpus", folder / "none", Budget(), folder / "recipe.yaml")
