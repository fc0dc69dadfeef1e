"""A student with another patch embedding is the same student otherwise, and goes on where it stood."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from aura_research import swap_patch_embedding
from aura_research.swap_patch_embedding import main
from tests.support.training import write_corpus, write_recipe
from transformers_aura import AuraForSpeechQA
from transformers_aura.distillation.recipe import load_recipe, training_arguments
from transformers_aura.distillation.recipe_run import build_trainer


@pytest.fixture
def recipe(tmp_path: Path) -> list[str]:
    """A recipe on spoken orders, and what it must be told."""
    write_corpus(tmp_path / "corpus", num_train=12)
    source = {"source": str(tmp_path / "corpus" / "orders"), "use": ["audio", "transcript"]}
    return [
        str(write_recipe(tmp_path)),
        f"data.train=[{source}]",
        "training.max_steps=2",
        "training.pad_to_multiple_of=16",
    ]


def settings(recipe: list[str]) -> list[str]:
    return [part for setting in recipe[1:] for part in ("--set", setting)]


def test_a_new_patch_embedding_learns_and_all_else_is_as_it_was(
    recipe: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = load_recipe(recipe[0], [*recipe[1:], f"training.output_dir={tmp_path / 'student'}"])
    trainer = build_trainer(trained, training_arguments(trained))
    trainer.train()
    checkpoint = tmp_path / "student" / "checkpoint-2"
    out = tmp_path / "swapped" / "checkpoint-0"
    main([recipe[0], str(checkpoint), str(out), "--steps", "50", "--learning-rate", "1e-3", *settings(recipe)])

    before, after = load_file(checkpoint / "model.safetensors"), load_file(out / "model.safetensors")
    others = {name for name in before if "embed_audio." not in name}
    assert others == {name for name in after if "embed_audio." not in name}
    assert {name.split(".")[1] for name in others} == {"language_model", "character_ctc_head"}
    assert all(torch.equal(before[name], after[name]) for name in others)
    swapped = AuraForSpeechQA.from_pretrained(out)
    assert swapped.config.audio_config.conv_block_type == "kernel"
    assert [type(block).__name__ for block in swapped.model.embed_audio.blocks] == ["KernelConvBlock"] * 2
    old = AuraForSpeechQA.from_pretrained(checkpoint).model.embed_audio
    batch = next(iter(trainer.get_train_dataloader()))
    features = (batch["input_features"], batch["input_features_mask"])
    with torch.no_grad():
        wanted, mask = old(*features)
        said = swapped.model.embed_audio(*features)[0]
    distance = (said - wanted)[mask].square().mean() / wanted[mask].square().mean()
    assert distance < 0.8, "says to the LLM what the old one said"
    shown = capsys.readouterr().out
    assert "step 25 of 50" in shown
    assert "step 50 of 50" in shown
    assert [path.name for path in out.parent.iterdir()] == ["checkpoint-0"], "nothing else is left behind"
    # The distillation heads came along: a recipe goes on from here.
    further = load_recipe(
        recipe[0], [*recipe[1:], f"model.student={out}", f"training.output_dir={tmp_path / 'further'}"]
    )
    assert build_trainer(further, training_arguments(further)).train().global_step == 2


class Killed(Exception):
    """What a run dies of here."""


def test_goes_on_after_a_kill_with_the_batches_that_it_has_not_seen(
    recipe: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    student = load_recipe(recipe[0], [*recipe[1:], f"training.output_dir={tmp_path / 'student'}"])
    build_trainer(student, training_arguments(student)).train()
    checkpoint = tmp_path / "student" / "checkpoint-2"
    seen: list[list[int]] = []

    class Recording(swap_patch_embedding.SwapLosses):
        dies_at = 0

        def forward(self, heard, clean, teacher_states, lengths, symbols, symbol_lengths):  # type: ignore[no-untyped-def]
            if len(seen) == Recording.dies_at:
                raise Killed
            seen.append(symbols.flatten().tolist())
            return super().forward(heard, clean, teacher_states, lengths, symbols, symbol_lengths)

    monkeypatch.setattr(swap_patch_embedding, "SwapLosses", Recording)
    monkeypatch.setattr(swap_patch_embedding, "SAVE_STEPS", 5)

    def run(out: Path, dies_at: int) -> list[list[int]]:
        seen.clear()
        Recording.dies_at = dies_at
        main([recipe[0], str(checkpoint), str(out), "--steps", "12", *settings(recipe)])
        return list(seen)

    whole = run(tmp_path / "whole", dies_at=-1)
    with pytest.raises(Killed):
        run(tmp_path / "killed", dies_at=8)
    assert run(tmp_path / "killed", dies_at=-1) == whole[5:], "from its last save at step 5"
    assert not list(tmp_path.glob("killed-*")), "what was saved on the way is gone"
    assert AuraForSpeechQA.from_pretrained(tmp_path / "killed").config.audio_config.conv_block_type == "kernel"
