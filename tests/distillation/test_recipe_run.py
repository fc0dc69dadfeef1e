"""What a recipe builds before its first step."""

from pathlib import Path

import pytest
import torch

from tests.support.training import write_corpus, write_recipe
from transformers_aura.distillation.recipe import RecipeError, load_recipe, training_arguments
from transformers_aura.distillation.recipe_run import build_student, build_trainer
from transformers_aura.distillation.teacher import AuraTeacher


KERNEL_BLOCKS = ["model.conv_blocks=2", "model.conv_block_type=kernel"]


def test_kernel_blocks_start_from_the_teachers_layers_and_how_it_attends_to_the_training_clips(tmp_path: Path) -> None:
    write_corpus(tmp_path / "corpus", num_train=6)
    file = write_recipe(tmp_path)
    source = {"source": str(tmp_path / "corpus" / "orders"), "use": ["audio", "transcript"]}
    recipe = load_recipe(file, [*KERNEL_BLOCKS, f"data.train=[{source}]", f"training.output_dir={tmp_path / 'out'}"])
    teacher = AuraTeacher.from_pretrained(recipe.teacher.model, pad_to_seconds=1)
    embedding = build_trainer(recipe, training_arguments(recipe)).model.model.embed_audio
    for block, layer in zip(embedding.blocks, teacher.encoder.layers, strict=True):
        assert torch.equal(block.expand.weight, layer.fc1.weight)
        kernels = block.kernel.weight.detach().squeeze(1)
        assert (kernels >= 0).all()
        assert 0 < float(kernels.sum(-1).max()) <= 1, "attention weights of one state sum to 1"
        assert torch.equal(kernels[0], kernels[11]), "one kernel a head of 12 channels"
        assert not torch.equal(kernels[0], kernels[12])
    again = build_trainer(recipe, training_arguments(recipe)).model.model.embed_audio
    assert all(torch.equal(a, b) for a, b in zip(embedding.parameters(), again.parameters(), strict=True))


def test_kernel_blocks_without_a_training_clip_are_an_error(tmp_path: Path) -> None:
    recipe = load_recipe(write_recipe(tmp_path), KERNEL_BLOCKS)
    teacher = AuraTeacher.from_pretrained(recipe.teacher.model, pad_to_seconds=1)
    with pytest.raises(RecipeError, match="holds no row with audio"):
        build_student(recipe, teacher)
