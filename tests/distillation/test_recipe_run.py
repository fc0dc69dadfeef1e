"""What a recipe builds before its first step."""

import json
from pathlib import Path

import pytest
import soundfile
import torch

from tests.support.tiny import tone
from tests.support.training import write_corpus, write_recipe
from transformers_aura.decoding.alphabet import LATIN_ALPHABET
from transformers_aura.distillation.checkpoint_files import CheckpointError
from transformers_aura.distillation.recipe import RecipeError, load_recipe, training_arguments
from transformers_aura.distillation.recipe_run import build_trainer
from transformers_aura.distillation.recipe_student import build_student
from transformers_aura.distillation.teacher import AuraTeacher
from transformers_aura.distillation.trainer import AuraTrainer
from transformers_aura.modeling.modeling_aura import AuraForSpeechQA
from transformers_aura.processing.processing_aura import AuraProcessor


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


def first_stage(folder: Path, *more: str) -> tuple[Path, list[str]]:
    """A recipe and the settings of a stage that goes on from its student, saved as a first stage would."""
    write_corpus(
        folder / "corpus", num_train=4, shortest_seconds=0.8
    )  # an audio token for each token of the transcript
    file = write_recipe(folder)
    source = {"source": str(folder / "corpus" / "orders"), "use": ["audio", "transcript"]}
    data = [f"data.train=[{source}]", f"training.output_dir={folder / 'first'}", "training.max_steps=1"]
    recipe = load_recipe(file, [*data, *more])
    trainer = build_trainer(recipe, training_arguments(recipe))
    trainer.train()
    trainer.save_model()
    further = [f"model.student={folder / 'first'}", f"training.output_dir={folder / 'second'}", "training.max_steps=2"]
    return file, [data[0], *further]


def optimised(trainer: AuraTrainer) -> list[torch.Tensor]:
    return [parameter for group in trainer.optimizer.param_groups for parameter in group["params"]]


def test_a_later_stage_adds_the_heads_that_the_student_lacks(tmp_path: Path) -> None:
    file, settings = first_stage(tmp_path)
    more = ["model.subword_ctc_layer=1", "model.answer_from=transcript", "losses.subword_ctc_weight=1"]
    recipe = load_recipe(file, [*settings, *more])
    trainer = build_trainer(recipe, training_arguments(recipe))
    model = trainer.model
    trained = AuraForSpeechQA.from_pretrained(tmp_path / "first").model.character_ctc_head
    assert torch.equal(model.model.character_ctc_head.projection.weight, trained.projection.weight), "it goes on"
    trainer.train()
    trainer.save_model()
    student = AuraForSpeechQA.from_pretrained(tmp_path / "second")
    assert student.config.subword_ctc_layer == 1
    assert student.config.character_ctc_alphabet == LATIN_ALPHABET
    assert student.config.to_dict()["answer_from"] == "transcript"
    assert any(parameter is model.model.subword_ctc_head.projection.weight for parameter in optimised(trainer))
    weight = student.model.subword_ctc_head.projection.weight
    assert torch.equal(weight, model.model.subword_ctc_head.projection.weight)


def test_another_alphabet_is_another_language(tmp_path: Path) -> None:
    file, settings = first_stage(tmp_path, "model.subword_ctc_layer=1", "losses.subword_ctc_weight=1")
    first = AuraForSpeechQA.from_pretrained(tmp_path / "first")
    recipe = load_recipe(file, [*settings, "model.character_ctc_alphabet=auto"])
    model = build_trainer(recipe, training_arguments(recipe)).model
    assert model.config.character_ctc_alphabet == LATIN_ALPHABET, "it spells the transcripts, so it stays"
    assert model.config.subword_ctc_layer == 1
    recipe = load_recipe(
        file,
        [*settings, "model.character_ctc_alphabet=' acelmoprstäß'", "model.transcription_instruction=Schreib es auf."],
    )
    trainer = build_trainer(recipe, training_arguments(recipe))
    trainer.train()
    trainer.save_model()
    student = AuraForSpeechQA.from_pretrained(tmp_path / "second")
    assert student.config.character_ctc_alphabet == " acelmoprstäß"
    assert student.model.subword_ctc_head is None
    assert student.text_statistics.lexicon.largest_symbol < len(" acelmoprstäß")
    assert first.text_statistics.lexicon.largest_symbol >= len(" acelmoprstäß"), "counted in the old alphabet"
    assert AuraProcessor.from_pretrained(tmp_path / "second").transcription_instruction == "Schreib es auf."


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("model.subword_ctc_layer=9", "`subword_ctc_layer` must lie between 0 and the LLM's 3 layers, got 9"),
    ],
)
def test_heads_that_do_not_go_with_the_student_are_named(tmp_path: Path, setting: str, message: str) -> None:
    file, settings = first_stage(tmp_path)
    recipe = load_recipe(file, [*settings, setting])
    with pytest.raises(RecipeError, match=message):
        build_trainer(recipe, training_arguments(recipe))


@pytest.mark.fault("loading")
def test_a_later_stage_does_not_go_on_from_a_damaged_checkpoint(tmp_path: Path) -> None:
    file, settings = first_stage(tmp_path, "training.save_steps=1")
    checkpoint = tmp_path / "first" / "checkpoint-1"
    recipe = load_recipe(file, [*settings, f"model.student={checkpoint}"])
    assert build_trainer(recipe, training_arguments(recipe)).heads is not None
    weights = checkpoint / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    with pytest.raises(CheckpointError, match=r"checkpoint-1 is damaged: model\.safetensors"):
        build_trainer(recipe, training_arguments(recipe))


@pytest.mark.fault("training")
@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"audio": "gone.wav", "transcript": "yes"}, r"row 1 \(\S*gone.wav'\): there is no such file"),
        ({"audio": "empty.wav", "transcript": "yes"}, r"row 1 \(\S*empty.wav'\): the file is empty"),
        ({"audio": "clip.wav", "transcipt": "yes"}, r"row 1 \(\S*clip.wav'\) has neither a transcript nor an answer\. Is a key of it misspelt\?"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("part", ["train", "evaluation"])
def test_every_row_of_a_manifest_is_looked_at_before_anything_is_loaded(
    tmp_path: Path, part: str, row: dict[str, str], message: str
) -> None:
    write_corpus(tmp_path / "corpus", num_train=2)
    recipe_file = write_recipe(tmp_path)
    soundfile.write(tmp_path / "clip.wav", tone(0.5), 16000)
    (tmp_path / "empty.wav").write_bytes(b"")
    good = {"audio": "clip.wav", "transcript": "yes"}
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps(each) + "\n" for each in (good, row, good)))
    sources = {"train": tmp_path / "corpus" / "orders", part: rows}
    settings = [f"data.{name}=[{{source: {source}}}]" for name, source in sources.items()]
    recipe = load_recipe(recipe_file, [*settings, "model.base_model=org/nobody", "teacher.model=org/nobody"])
    with pytest.raises(RecipeError, match=f"'data.{part}', {message}"):
        build_trainer(recipe, training_arguments(recipe))
