"""What `auto` in a recipe becomes."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from transformers import Wav2Vec2Config, WhisperConfig

from tests.support.tiny_models import tiny_transcriber
from tests.support.training import write_corpus, write_recipe
from transformers_aura.decoding.alphabet import LATIN_ALPHABET
from transformers_aura.distillation.plan import plan_training
from transformers_aura.distillation.recipe import RecipeError, load_recipe, training_arguments
from transformers_aura.distillation.recipe_auto import with_alphabet, with_model_values, with_teacher_padding
from transformers_aura.distillation.recipe_run import build_trainer


AUTO = [f"model.{name}=auto" for name in ("lora_num_layers", "conv_width", "num_mel_bins")]


def test_auto_fits_student_and_teacher_together(tmp_path: Path) -> None:
    write_corpus(tmp_path / "corpus", num_train=4)
    source = {"source": str(tmp_path / "corpus" / "orders"), "use": ["audio", "transcript"]}
    settings = [
        *AUTO,
        "teacher.pad_to_seconds=auto",
        f"data.train=[{source}]",
        f"training.output_dir={tmp_path / 'out'}",
    ]
    recipe = load_recipe(write_recipe(tmp_path), settings)
    arguments = training_arguments(recipe)
    trainer = build_trainer(recipe, arguments)
    config = trainer.model.config
    teacher = trainer.targets.teacher
    assert config.audio_config.conv_width == teacher.width
    assert config.audio_config.num_mel_bins == teacher.feature_extractor.feature_size
    assert config.lora_num_layers == -(-2 * config.text_config.num_hidden_layers // 3)
    assert teacher.pad_to_seconds == 5
    planned = plan_training(recipe, arguments).student.config
    assert planned.lora_num_layers == config.lora_num_layers
    assert planned.audio_config.conv_width == config.audio_config.conv_width


def test_the_alphabet_is_that_of_the_training_transcripts(tmp_path: Path) -> None:
    rows = SimpleNamespace(transcripts=["Grüße aus Köln"] * 5)
    recipe = load_recipe(write_recipe(tmp_path), ["model.character_ctc_alphabet=auto"])
    assert with_alphabet(recipe, rows).model.character_ctc_alphabet == " aegklnrsußöü"
    student = tmp_path / "student"
    tiny_transcriber(student)
    going_on = load_recipe(
        tmp_path / "recipe.yaml", [f"model.student={student / 'student'}", "model.character_ctc_alphabet=auto"]
    )
    assert with_alphabet(going_on, rows).model.character_ctc_alphabet == " aegklnrsußöü"
    english = SimpleNamespace(transcripts=["a latte"])
    assert with_alphabet(going_on, english).model.character_ctc_alphabet == LATIN_ALPHABET
    with pytest.raises(RecipeError, match=r"'model\.character_ctc_alphabet' is auto.* 'data\.train' has none"):
        with_alphabet(recipe, SimpleNamespace(seconds=[1.0]))


@pytest.mark.parametrize(
    ("seconds", "padding"),
    [([1.0] * 9 + [40.0], 5.0), ([5.0], 5.0), ([4.0, 7.0], 10.0), ([28.0], None), (None, None)],
)
def test_padding_of_the_teacher_by_the_lengths_of_the_clips(
    tmp_path: Path, seconds: list[float] | None, padding: float | None
) -> None:
    recipe = load_recipe(write_recipe(tmp_path), ["teacher.pad_to_seconds=auto"])
    assert (
        with_teacher_padding(recipe, SimpleNamespace(seconds=seconds), WhisperConfig()).teacher.pad_to_seconds
        == padding
    )


def test_a_teacher_that_does_not_say(tmp_path: Path) -> None:
    recipe = load_recipe(write_recipe(tmp_path), AUTO)
    with pytest.raises(RecipeError, match=r"'model\.num_mel_bins' is auto.* is a wav2vec2, no Whisper"):
        with_model_values(recipe, Wav2Vec2Config())
    with pytest.raises(RecipeError, match=r"'model\.conv_width' must be a whole number or one of auto"):
        load_recipe(tmp_path / "recipe.yaml", ["model.conv_width=automatic"])
