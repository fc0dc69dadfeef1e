"""Students are trained in the format that the processor multiplies fastest."""

import pytest

from aura_research import precision
from aura_research.places import RECIPES
from aura_research.precision import FLOAT32, precision_settings
from transformers_aura.distillation.recipe import load_recipe


@pytest.mark.parametrize("fast", [True, False])
def test_bfloat16_is_left_where_the_processor_multiplies_it(monkeypatch, fast):
    monkeypatch.setattr(precision, "cpu_multiplies", lambda _: fast)
    training = load_recipe(RECIPES / "smollm2-135m-cpu.yaml").training
    assert precision_settings(training) == ([] if fast else list(FLOAT32))
    recipe = load_recipe(RECIPES / "smollm2-135m-cpu.yaml", precision_settings(training))
    assert (recipe.model.dtype, recipe.teacher.dtype) == (("bfloat16",) * 2 if fast else ("float32",) * 2)
    assert recipe.training["bf16"] == fast


def test_recipes_for_a_gpu_and_in_float32_stay_as_they_are(monkeypatch):
    monkeypatch.setattr(precision, "cpu_multiplies", lambda _: False)
    assert precision_settings(load_recipe(RECIPES / "smollm2-135m-gpu-stage6.yaml").training) == []
    assert precision_settings({"use_cpu": True}) == []
