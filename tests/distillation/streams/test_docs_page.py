"""The recipes of `docs/data.md` are such."""

import re
import textwrap
from pathlib import Path

import yaml

from transformers_aura.distillation.recipe import load_recipe, training_arguments


PAGE = Path(__file__).parents[3] / "docs" / "data.md"


def test_every_recipe_of_the_page_is_one(tmp_path):
    blocks = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        content = yaml.safe_load(textwrap.dedent(block))
        data = content.get("data") or {"train": content["train"], "stream": True}
        recipe = {
            "name": "page",
            "model": {"base_model": "org/llm"},
            "teacher": {"model": "org/whisper"},
            "data": data,
            "training": {**content.get("training", {}), "use_cpu": True},
        }
        (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
        loaded = load_recipe(tmp_path / "recipe.yaml")
        assert training_arguments(loaded).max_steps == (100000 if "training" in content else -1)
        assert loaded.data.train
