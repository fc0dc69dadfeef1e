import json
import logging
import multiprocessing
import os
import re
import resource
import signal

import pytest
import torch
from safetensors.torch import load_file
from transformers import TrainerCallback
from transformers.trainer_utils import set_seed

from tests.distillation.support import (
    HEAD_WEIGHTS,
    HEADS,
    StopAfter,
    assert_same_weights,
    step_logs,
    tiny_rows,
    tiny_trainer,
    trained_weights,
)
from transformers_aura.distillation.checkpoint_files import (
    CheckpointError,
    damage,
    last_complete_checkpoint,
)
from transformers_aura.distillation.heads import HEADS_FILE_NAME, DistillationHeads
from transformers_aura.distillation.logs import HISTORY_FILE_NAME
from transformers_aura.folder_lock import FolderInUseError
from transformers_aura.modeling.modeling_aura import AuraForSpeechQA


@pytest.mark.parametrize("stop", [3, 4, 6])
def test_resumed_equals_uninterrupted_bit_for_bit(tmp_path, stop):
    # 8 rows in batches of 2: step 4 ends the first epoch. Everything random is on: order, gain, context.
    settings = {
        "per_device_train_batch_size": 2,
        "max_steps": 7,
        "save_strategy": "steps",
        "save_steps": stop,
        "answer_kl_weight": 0.5,
        "context_probability": 0.5,
        "context_texts": ["some words to stand before the audio", "others"],
        "distillation_warmup_steps": 2,
        "lr_scheduler_type": "cosine",
        "student": HEADS,
        **HEAD_WEIGHTS,
    }
    uninterrupted = tiny_trainer(tmp_path, "whole", **settings)
    uninterrupted.train()
    tiny_trainer(tmp_path, "killed", callbacks=[StopAfter(stop)], **settings).train()
    set_seed(12345)
    # Another teacher statistic would come out of these rows first; a resume must take the saved one.
    resumed = tiny_trainer(tmp_path, "killed", **settings)
    resumed.train(resume_from_checkpoint=True)
    assert resumed.state.global_step == 7
    names = (
        "cosine_loss",
        "mse_loss",
        "character_ctc_loss",
        "subword_ctc_loss",
        "text_state_loss",
        "cosine",
        "grad_norm",
    )
    assert step_logs(resumed, *names) == step_logs(uninterrupted, *names)
    assert_same_weights(trained_weights(resumed), trained_weights(uninterrupted))
    history = (tmp_path / "killed" / HISTORY_FILE_NAME).read_text().splitlines()
    steps = [entry["step"] for entry in map(json.loads, history) if "loss" in entry]
    assert steps == list(range(1, 8))


def test_teacher_and_heads_stay_out_of_the_student(tmp_path):
    trainer = tiny_trainer(tmp_path, save_strategy="steps", save_steps=2, max_steps=2)
    trainer.train()
    trainer.save_model(tmp_path / "released")
    checkpoint = tmp_path / "run" / "checkpoint-2"
    assert (checkpoint / HEADS_FILE_NAME).is_file()
    released = {path.name for path in (tmp_path / "released").iterdir()}
    assert HEADS_FILE_NAME not in released
    assert not {name for name in released if name.endswith((".bin", ".pt", ".pth", ".pkl"))}  # no pickle
    assert {
        "config.json",
        "model.safetensors",
        "processor_config.json",
        "tokenizer.json",
        "chat_template.jinja",
    } <= released
    for folder in (checkpoint, tmp_path / "released"):
        keys = load_file(folder / "model.safetensors")
        assert all(".lora_" in key or "embed_audio" in key for key in keys)
    assert json.loads((tmp_path / "released" / "config.json").read_text())["use_cache"] is True
    in_optimizer = sum(p.numel() for group in trainer.optimizer.param_groups for p in group["params"])
    student = sum(p.numel() for p in trainer.model.parameters() if p.requires_grad)
    assert in_optimizer == student + sum(p.numel() for p in trainer.heads.parameters())
    # The student is what it was: saved by itself it has no heads either.
    assert not any("heads" in name for name in trainer.model.state_dict())
    reloaded = AuraForSpeechQA.from_pretrained(tmp_path / "released")
    weights = {name: p for name, p in reloaded.named_parameters() if ".lora_" in name or "embed_audio" in name}
    assert_same_weights(weights, {name: p for name, p in trainer.model.named_parameters() if name in weights})


def test_the_ctc_heads_are_the_students_in_all_that_is_saved(tmp_path, caplog):
    settings = {"max_steps": 2, "heads_learning_rate": 0.01, **HEAD_WEIGHTS}
    trainer = tiny_trainer(tmp_path, "first", HEADS, save_strategy="steps", save_steps=2, **settings)
    trainer.train()
    trainer.save_model()
    own = {name for name in trainer.model.state_dict() if "_ctc_head." in name}
    assert {name.split(".")[1] for name in own} == {"character_ctc_head", "subword_ctc_head"}
    student = AuraForSpeechQA.from_pretrained(tmp_path / "first")
    for folder in (tmp_path / "first", tmp_path / "first" / "checkpoint-2"):
        saved = load_file(folder / "model.safetensors")
        for name in own:
            assert torch.equal(saved[name], trainer.model.state_dict()[name]), name
            assert torch.equal(saved[name], student.state_dict()[name]), name

    further = tiny_trainer(tmp_path, "second", student, **settings)
    before = trained_weights(further)
    further.train()
    assert all(
        not torch.equal(weight, before[name]) for name, weight in trained_weights(further).items() if name in own
    )

    logging.getLogger("transformers").propagate = True
    with caplog.at_level(logging.WARNING):
        rests = tiny_trainer(tmp_path, "third", student, max_steps=1, character_ctc_weight=0.5)
    (warning,) = [
        record.getMessage() for record in caplog.records if "No objective of this run" in record.getMessage()
    ]
    assert "subword_ctc_head" in warning
    assert "character_ctc_head" not in warning
    before = {name: tensor.clone() for name, tensor in student.state_dict().items() if name in own}
    rests.train()
    rests.save_model()
    saved = load_file(tmp_path / "third" / "model.safetensors")
    for name, tensor in before.items():
        assert torch.equal(saved[name], tensor) == ("subword" in name), name


def test_heads_can_be_loaded_again(tmp_path):
    trainer = tiny_trainer(tmp_path, save_strategy="steps", save_steps=1, max_steps=1)
    trainer.train()
    heads = DistillationHeads.load(tmp_path / "run" / "checkpoint-1" / HEADS_FILE_NAME)
    assert heads.pairs == trainer.heads.pairs
    assert torch.equal(heads.target_std, trainer.heads.target_std)


@pytest.mark.fault("resume")
def test_a_run_goes_on_from_the_checkpoint_before_a_damaged_one(tmp_path, caplog):
    settings = {"save_strategy": "steps", "save_steps": 1, "max_steps": 3, "lr_scheduler_type": "constant"}
    whole = tiny_trainer(tmp_path, "whole", **settings)
    whole.train()
    tiny_trainer(tmp_path, "killed", callbacks=[StopAfter(2)], **settings).train()
    weights = tmp_path / "killed" / "checkpoint-2" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1  # other weights, and still a valid file
    weights.write_bytes(content)
    resumed = tiny_trainer(tmp_path, "killed", **settings)
    resumed.train(resume_from_checkpoint=True)
    (warning,) = [record.getMessage() for record in caplog.records if "passed over" in record.getMessage()]
    assert re.search(r"checkpoint-2 is damaged: model\.safetensors \(\d+ bytes\) is not what was written", warning)
    assert_same_weights(trained_weights(resumed), trained_weights(whole))
    assert last_complete_checkpoint(tmp_path / "killed") == str(tmp_path / "killed" / "checkpoint-3")
    assert damage(tmp_path / "killed" / "checkpoint-2") is None, "it was written anew on the way"


@pytest.mark.fault("disk")
@pytest.mark.parametrize("name", ["optimizer.pt", "trainer_state.json"])
def test_a_full_disk_leaves_the_checkpoint_before_and_says_so(tmp_path, name):
    settings = {"save_strategy": "steps", "save_steps": 1, "save_total_limit": 2, "max_steps": 3}
    trainer = tiny_trainer(tmp_path, **settings)
    full = tmp_path / "run" / "checkpoint-2"
    full.mkdir(parents=True)
    (full / name).symlink_to("/dev/full")
    with pytest.raises(
        OSError, match=r"checkpoint-2 could not be written \(.*\); [\d,]+ MB are free there.*resume from the last"
    ):
        trainer.train()
    assert last_complete_checkpoint(tmp_path / "run") == str(tmp_path / "run" / "checkpoint-1")
    assert not full.exists()
    resumed = tiny_trainer(tmp_path, **settings)
    resumed.train(resume_from_checkpoint=True)
    assert resumed.state.global_step == 3


@pytest.mark.fault("disk")
def test_a_full_disk_when_the_student_is_saved(tmp_path):
    trainer = tiny_trainer(tmp_path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(
            OSError, match=r"out could not be written \(.*too large.* MB are free there.*resume from it"
        ):
            trainer.save_model(tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.fault("resume")
def test_settings_of_the_optimizer_that_a_resume_would_not_take_are_refused(tmp_path):
    settings = {"save_strategy": "steps", "save_steps": 1}
    tiny_trainer(tmp_path, max_steps=1, **settings).train()
    for name, value in (("learning_rate", 5e-4), ("adam_beta2", 0.97)):
        trainer = tiny_trainer(tmp_path, max_steps=2, **settings, **{name: value})
        with pytest.raises(
            ValueError, match=f"optimizer's .* .*{value}.* in this run .* in .*checkpoint-1: a resumed run keeps"
        ):
            trainer.train(resume_from_checkpoint=True)
    tiny_trainer(tmp_path, max_steps=2, **settings).train(resume_from_checkpoint=True)


def test_a_half_precision_student_is_trained_in_float32_and_released_in_its_own_dtype(tmp_path):
    settings = {
        "student": {"dtype": torch.bfloat16, **HEADS},
        **HEAD_WEIGHTS,
        "max_steps": 3,
        "save_strategy": "steps",
        "save_steps": 2,
        "bf16": True,
    }
    trainer = tiny_trainer(tmp_path, "whole", **settings)
    trainer.train()
    dtypes = {p.dtype for p in trainer.model.parameters() if p.requires_grad}
    assert dtypes == {torch.float32}
    assert {p.dtype for p in trainer.model.parameters() if not p.requires_grad} == {torch.bfloat16}
    trainer.save_model(tmp_path / "released")
    released = load_file(tmp_path / "released" / "model.safetensors")
    checkpoint = load_file(tmp_path / "whole" / "checkpoint-2" / "model.safetensors")
    assert released.keys() == checkpoint.keys()
    assert {tensor.dtype for tensor in released.values()} == {torch.bfloat16}
    assert {tensor.dtype for tensor in checkpoint.values()} == {torch.float32}
    resumed = tiny_trainer(tmp_path, "whole", **settings)
    resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-2"))
    assert_same_weights(trained_weights(resumed), trained_weights(trainer))
    AuraForSpeechQA.from_pretrained(tmp_path / "released")


@pytest.mark.parametrize("only_model", [False, True])
@pytest.mark.parametrize("greater_is_better", [True, False])
def test_the_best_model_is_loaded_with_all_of_its_heads(tmp_path, greater_is_better, only_model):
    class Climb(TrainerCallback):
        """So that the loss rises, and the first is the best, whichever is better."""

        def on_step_begin(self, args, state, control, optimizer, **kwargs):
            for group in optimizer.param_groups:
                group["lr"] = 0.01 if greater_is_better else -0.01

    trainer = tiny_trainer(
        tmp_path,
        callbacks=[Climb()],
        max_steps=3,
        eval_dataset=tiny_rows(3),
        eval_strategy="steps",
        eval_steps=1,
        save_strategy="steps",
        save_steps=1,
        save_only_model=only_model,
        load_best_model_at_end=True,
        metric_for_best_model="lm_loss",
        greater_is_better=greater_is_better,
        student=HEADS,
        **HEAD_WEIGHTS,
    )
    trainer.train()
    assert trainer.state.best_model_checkpoint.endswith("checkpoint-1")
    trainer.save_model()
    best, last = (tmp_path / "run" / f"checkpoint-{step}" for step in (1, 3))
    own, saved = trainer.model.state_dict(), load_file(tmp_path / "run" / "model.safetensors")
    of_best, of_last = load_file(best / "model.safetensors"), load_file(last / "model.safetensors")
    heads = [name for name in saved if "_ctc_head." in name]
    assert {name.split(".")[1] for name in heads} == {"character_ctc_head", "subword_ctc_head"}
    assert saved.keys() == of_best.keys()
    for name, tensor in of_best.items():
        assert torch.equal(own[name], tensor), name
        assert torch.equal(saved[name], tensor), name
        assert not torch.equal(of_last[name], tensor), name
    distillation_heads = DistillationHeads.load(best / HEADS_FILE_NAME)
    assert torch.equal(distillation_heads.heads[0][1].weight, trainer.heads.heads[0][1].weight)


@pytest.mark.fault("training")
def test_a_best_checkpoint_that_was_damaged_meanwhile_is_not_loaded(tmp_path):
    class Damage(TrainerCallback):
        def on_save(self, args, state, control, **kwargs):
            path = tmp_path / "run" / "checkpoint-1" / "model.safetensors"
            path.write_bytes(path.read_bytes()[:-1] + b"!")

    trainer = tiny_trainer(
        tmp_path,
        callbacks=[Damage()],
        max_steps=1,
        eval_dataset=tiny_rows(2),
        eval_strategy="steps",
        save_strategy="steps",
        eval_steps=1,
        save_steps=1,
        load_best_model_at_end=True,
    )
    with pytest.raises(CheckpointError, match=r"checkpoint-1 is damaged: model\.safetensors"):
        trainer.train()


def test_a_later_stage_takes_over_the_distillation_heads(tmp_path):
    first = tiny_trainer(tmp_path, "first", max_steps=2, save_strategy="steps", save_steps=2)
    first.train()
    second = tiny_trainer(tmp_path, "second")
    second.load_heads(tmp_path / "first" / "checkpoint-2")
    own, others = first.heads.state_dict(), second.heads.state_dict()
    assert all(torch.equal(own[name], others[name]) for name in own)
    assert not second.heads.needs_statistics
    with pytest.raises(FileNotFoundError):
        second.load_heads(tmp_path)


@pytest.mark.fault("training")
def test_two_runs_never_write_to_one_folder(tmp_path):
    class SecondRun(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            with pytest.raises(
                FolderInUseError, match=r"run is in use: a training \(process \d+ on .*choose another folder"
            ):
                tiny_trainer(tmp_path, max_steps=1).train()

    first = tiny_trainer(tmp_path, callbacks=[SecondRun()], max_steps=2, save_strategy="steps", save_steps=2)
    first.train()
    history = (tmp_path / "run" / HISTORY_FILE_NAME).read_text().splitlines()
    assert len(history) == 3, "only the first wrote"
    tiny_trainer(tmp_path, max_steps=2, save_strategy="steps", save_steps=2).train(resume_from_checkpoint=True)


class KillAfter(StopAfter):
    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.fault("resume")
def test_a_killed_run_holds_nothing_and_is_resumed_at_once(tmp_path):
    settings = {"max_steps": 4, "save_strategy": "steps", "save_steps": 2}
    train = tiny_trainer(tmp_path, callbacks=[KillAfter(3)], **settings).train
    process = multiprocessing.get_context("fork").Process(target=train)
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    resumed = tiny_trainer(tmp_path, **settings)
    resumed.train(resume_from_checkpoint=True)
    whole = tiny_trainer(tmp_path, "whole", **settings)
    whole.train()
    assert_same_weights(trained_weights(resumed), trained_weights(whole))
