"""A second teacher in a training: its loss, its heads, its cache; and nothing changes without one."""

import pytest
import torch

from tests.distillation.support import tiny_rows, tiny_trainer, trained_weights
from tests.support.tiny_models import randomise_adapter
from tests.support.tiny_waveform_encoder import save_tiny_waveform_encoder
from tests.support.training import write_corpus, write_recipe
from transformers_aura import AuraForSpeechQA, SecondTeacher, WaveformTeacher
from transformers_aura.distillation.checkpoint_files import last_complete_checkpoint
from transformers_aura.distillation.plan import plan_training
from transformers_aura.distillation.recipe import RecipeError, load_recipe, training_arguments
from transformers_aura.distillation.recipe_run import build_trainer


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return save_tiny_waveform_encoder(tmp_path_factory.mktemp("encoder"), "wavlm")


def second(encoder, **settings):
    return SecondTeacher(WaveformTeacher.from_pretrained(encoder), **settings)


def test_loss_equals_a_computation_by_hand(tmp_path, encoder):
    """On a student whose heads and states are its own: everything but the objective is done anew."""
    teacher = second(encoder, layers=[(0, 1), (1, 0)], weight=0.5)
    trainer = tiny_trainer(tmp_path, second_teacher=teacher, random_gain_db=0.0, lr_scheduler_type="constant")
    randomise_adapter(trainer.model)
    trainer._ensure_statistics()
    batch = trainer.data_collator(tiny_rows(3))
    found = trainer.compute_loss(trainer.forward_pass, dict(batch), return_outputs=True)[1]
    figures = dict(zip(trainer.forward_pass.figure_names, (found.sums / found.counts).tolist(), strict=True))

    clips = [row["audio"]["array"] for row in tiny_rows(3)]
    is_audio = batch["input_ids"] == trainer.model.config.audio_token_id
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "input_features", "input_features_mask")}
    with torch.no_grad():
        states = trainer.model(**inputs, output_hidden_states=True).hidden_states
        losses, cosines = [], []
        for number, (student_layer, teacher_layer) in enumerate(trainer.second_heads.pairs):
            prediction = trainer.second_heads.heads[number](states[student_layer + 1][is_audio])
            output = teacher.teacher(clips, [teacher_layer])
            frames = torch.tensor([-(-len(clip) // 160) for clip in clips])
            tokens, mask = teacher.teacher.clock.pool(output.hidden_states[0], output.lengths, frames, 8)
            mean, std = trainer.second_heads.target_mean[teacher_layer], trainer.second_heads.target_std[teacher_layer]
            target = (tokens[mask] - mean) / std
            cosine = torch.nn.functional.cosine_similarity(prediction, target, dim=-1).mean()
            losses.append(1 - cosine + (prediction - target).square().mean())
            cosines.append(float(cosine))
    assert figures["second_teacher_loss"] == pytest.approx(float(sum(losses) / 2), rel=1e-4)
    assert figures["cosine/second_student_0_teacher_1"] == pytest.approx(cosines[0], abs=1e-5)
    assert figures["second_cosine"] == pytest.approx(sum(cosines) / 2, abs=1e-5)
    assert trainer.loss_weights["second_teacher_loss"] == 0.5


def test_a_run_that_is_resumed_is_the_run(tmp_path, encoder):
    settings = {"save_strategy": "steps", "save_steps": 2, "teacher_cache_dir": str(tmp_path / "cache")}
    whole = tiny_trainer(tmp_path, "whole", second_teacher=second(encoder), **settings)
    before = {name: tensor.clone() for name, tensor in whole.second_heads.state_dict().items()}
    whole.train()
    assert any(not torch.equal(before[name], tensor) for name, tensor in whole.second_heads.state_dict().items())
    log = whole.state.log_history[0]
    assert {"second_teacher_loss", "second_cosine", "cosine/second_student_1_teacher_1", "cosine_loss"} <= log.keys()
    checkpoint = tmp_path / "whole" / "checkpoint-2"
    assert (checkpoint / "second_distillation_heads.safetensors").is_file()

    resumed = tiny_trainer(tmp_path, "whole", second_teacher=second(encoder), **settings)
    resumed.train(resume_from_checkpoint=str(checkpoint))
    for name, tensor in trained_weights(whole).items():
        assert torch.equal(tensor, trained_weights(resumed)[name]), name
    for name, tensor in whole.second_heads.state_dict().items():
        assert torch.equal(tensor, resumed.second_heads.state_dict()[name]), name

    whole.save_model()
    names = {path.name for path in (tmp_path / "whole").iterdir()}
    assert not {name for name in names if "heads" in name}
    assert last_complete_checkpoint(tmp_path / "whole") is not None
    loaded = AuraForSpeechQA.from_pretrained(tmp_path / "whole")
    assert not [name for name in loaded.state_dict() if "second" in name]


def test_states_are_kept_apart_in_one_cache(tmp_path, encoder, monkeypatch):
    settings = {"teacher_cache_dir": str(tmp_path / "cache"), "max_steps": 1}
    tiny_trainer(tmp_path, "first", second_teacher=second(encoder), **settings).train()
    trainer = tiny_trainer(tmp_path, "second", second_teacher=second(encoder), **settings)
    for targets in (trainer.targets, trainer.second_targets):
        monkeypatch.setattr(targets, "_states", lambda waveforms: pytest.fail("computed again"))
    trainer.train()


def test_alone_it_teaches_without_whisper(tmp_path, encoder):
    trainer = tiny_trainer(
        tmp_path,
        teacher=None,
        cosine_weight=0,
        mse_weight=0,
        second_teacher=second(encoder),
        distillation_warmup_steps=2,
    )
    trainer.train()
    logs = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert "lm_loss" not in logs[0]
    assert {"lm_loss", "second_teacher_loss"} <= logs[-1].keys()
    assert trainer.heads is None


def test_errors_for_people(tmp_path, encoder):
    with pytest.raises(ValueError, match="cannot have a `second_teacher`"):
        tiny_trainer(tmp_path, teacher=None, supervision="transcript", second_teacher=second(encoder))
    with pytest.raises(ValueError, match="must be above 0, got 0"):
        second(encoder, weight=0)
    with pytest.raises(ValueError, match=r"the teacher has encoder layers 0 to 1"):
        tiny_trainer(tmp_path, second_teacher=second(encoder, layers=[(0, 7)]))


def test_a_recipe_names_one(tmp_path, encoder):
    write_corpus(tmp_path / "corpus", num_train=4)
    source = {"source": str(tmp_path / "corpus" / "orders"), "use": ["audio", "transcript"]}
    settings = [f"data.train=[{source}]", f"training.output_dir={tmp_path / 'out'}"]
    named = {"model": str(encoder), "layers": [[0, 1]], "weight": 0.25}
    recipe = load_recipe(write_recipe(tmp_path), [*settings, f"second_teacher={named}"])
    trainer = build_trainer(recipe, training_arguments(recipe))
    assert trainer.second_heads.pairs == [(0, 1)]
    assert trainer.loss_weights["second_teacher_loss"] == 0.25
    plain, plan = (
        plan_training(each, training_arguments(each))
        for each in (load_recipe(tmp_path / "recipe.yaml", settings), recipe)
    )
    added = sum(tensor.numel() for tensor in trainer.second_heads.parameters())
    assert plan.num_head_parameters - plain.num_head_parameters == added
    assert plan.num_teacher_parameters > plain.num_teacher_parameters
    assert plan.pushed_bytes == plain.pushed_bytes
    wrong = load_recipe(write_recipe(tmp_path), [*settings, f"second_teacher.model={tmp_path / 'whisper'}"])
    with pytest.raises(RecipeError, match=r"'second_teacher': .* is a whisper"):
        build_trainer(wrong, training_arguments(wrong))
