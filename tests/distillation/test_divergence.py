"""A training whose numbers are no numbers any more: it stops, says where, and leaves what was good."""

from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file
from transformers import TrainerCallback

from tests.distillation.support import (
    HEAD_WEIGHTS,
    HEADS,
    assert_same_weights,
    tiny_rows,
    tiny_trainer,
    trained_weights,
)
from transformers_aura.distillation.divergence import DivergenceWatch, TrainingDivergedError


class RuinAfter(TrainerCallback):
    """Makes the learning rate absurd for one step, and keeps the weights that it leads to."""

    def __init__(self, step, rate=1e30):
        self.step, self.rate = step, rate

    def on_step_begin(self, args, state, control, optimizer, **kwargs):
        if state.global_step == self.step:
            for group in optimizer.param_groups:
                group["lr"] = self.rate

    def on_step_end(self, args, state, control, model, **kwargs):
        if state.global_step == self.step + 1:
            self.weights = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}


SAVING = {"save_strategy": "steps", "save_steps": 1, "lr_scheduler_type": "constant", "max_steps": 6}


@pytest.mark.fault("training")
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"bf16": True},
        {"gradient_accumulation_steps": 2, "per_device_train_batch_size": 2, "max_grad_norm": 0},
        {"student": HEADS, "logging_steps": 5, **HEAD_WEIGHTS},
    ],
    ids=["plain", "bf16", "accumulated and not clipped", "with heads, between two logs"],
)
def test_it_stops_before_the_step_and_keeps_what_was_finite(tmp_path, settings):
    ruin = RuinAfter(2)
    trainer = tiny_trainer(tmp_path, callbacks=[ruin], save_total_limit=1, **SAVING, **settings)
    with pytest.raises(
        TrainingDivergedError,
        match=r"at step 4 the loss is nan, at a learning rate of 0.001; the last finite loss was \d.*, at step 3\. Not finite: .*lm_loss"
        r".*Lower `learning_rate`.*The last checkpoint from before is .*checkpoint-2\.",
    ):
        trainer.train()
    # Whether the weights after step 3 are of use was not known yet, so those of step 2 are still there.
    assert {path.name for path in (tmp_path / "run").iterdir() if not path.name.startswith(".")} == {
        "checkpoint-2",
        "checkpoint-3",
        "training_history.jsonl",
    }
    for step in (2, 3):
        saved = load_file(tmp_path / "run" / f"checkpoint-{step}" / "model.safetensors")
        assert all(tensor.isfinite().all() for tensor in saved.values())
    # The optimizer never saw the gradients of step 4.
    assert_same_weights({name: trained_weights(trainer)[name] for name in ruin.weights}, ruin.weights)
    assert all(entry.get("loss") != 0.0 for entry in trainer.state.log_history)


@pytest.mark.fault("training")
@pytest.mark.parametrize("settings", [{}, {"load_best_model_at_end": True, "eval_strategy": "steps", "eval_steps": 1}])
def test_the_last_step_ruins_the_weights(tmp_path, settings):
    trainer = tiny_trainer(
        tmp_path,
        callbacks=[RuinAfter(1, float("inf"))],
        eval_dataset=tiny_rows(2),
        **{**SAVING, "max_steps": 2},
        **settings,
    )
    with pytest.raises(
        TrainingDivergedError, match=r"not finite.*The last checkpoint from before is .*checkpoint-1\."
    ):
        trainer.train()
    with pytest.raises(TrainingDivergedError, match=r"after step 2 \d+ weights are not finite, such as model\."):
        trainer.save_model()
    assert not list((tmp_path / "run").glob("*.safetensors"))
    assert [path.name for path in (tmp_path / "run").glob("checkpoint-*")] == ["checkpoint-1"]


@pytest.mark.fault("training")
def test_gradients_that_are_infinite_under_a_finite_loss(tmp_path):
    trainer = tiny_trainer(tmp_path)
    trainer.model.model.embed_audio.proj.weight.register_hook(lambda gradient: gradient * float("inf"))
    before = trained_weights(trainer)
    with pytest.raises(
        TrainingDivergedError, match=r"at step 1 the loss is [0-9.]+, but the norm of its gradients inf"
    ):
        trainer.train()
    assert_same_weights(
        {n: t for n, t in trained_weights(trainer).items() if "heads" not in n},
        {n: t for n, t in before.items() if "heads" not in n},
    )


@pytest.mark.fault("training")
def test_nothing_was_finite_from_the_start(tmp_path):
    trainer = tiny_trainer(tmp_path)
    with torch.no_grad():
        trainer.model.lm_head.weight[3] = float("nan")
    with pytest.raises(
        TrainingDivergedError,
        match=r"no step before was finite\. Not finite: lm_loss\. Look for the cause in the data",
    ):
        trainer.train()


@pytest.mark.fault("training")
def test_an_evaluation_that_is_not_finite_ends_the_training(tmp_path):
    trainer = tiny_trainer(tmp_path, eval_dataset=tiny_rows(2), eval_strategy="steps", eval_steps=2)
    objective = trainer.objectives["lm"]
    loss = objective.loss
    objective.loss = lambda outputs: loss(outputs) * (1 if outputs.student.training else float("nan"))
    with pytest.raises(TrainingDivergedError, match=r"evaluation after step 2 these are not finite: lm_loss, loss\."):
        trainer.train()
    assert trainer.evaluate()["eval_lm_loss"] != trainer.evaluate()["eval_lm_loss"], "by itself it is told as it is"


@pytest.mark.fault("training")
@pytest.mark.parametrize(("scale", "stops"), [(65536.0, False), (1.0, True)])
def test_gradients_may_overflow_under_the_loss_scale_of_float16(scale, stops):
    scaler = SimpleNamespace(get_scale=lambda: scale)
    accelerator = SimpleNamespace(scaler=scaler, reduce=lambda tensor, reduction: tensor)
    watch = DivergenceWatch()
    watch.add(torch.tensor(1.5))
    assert (watch.check_step(accelerator, 1, torch.tensor(float("inf")), [1e-3]) is not None) == stops
    watch.add(torch.tensor(float("nan")))
    assert "the loss is nan" in watch.check_step(accelerator, 2, torch.tensor(1.0), [1e-3])
