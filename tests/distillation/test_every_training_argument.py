"""One table of all arguments of `transformers.TrainingArguments`: each works in [`AuraTrainer`] as its documentation says, or is refused.

An argument that only transformers' own code sees is in `STOCK`, with what that code is.
"""

import dataclasses
import inspect
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from huggingface_hub import HfApi
from transformers import TrainerCallback, TrainingArguments
from transformers import __version__ as transformers_version
from transformers.trainer_pt_utils import LabelSmoother

from tests.distillation.support import (
    StopAfter,
    assert_same_weights,
    audio,
    step_logs,
    tiny_rows,
    tiny_trainer,
    trained_weights,
)
from transformers_aura.distillation.checkpoint_files import last_complete_checkpoint
from transformers_aura.distillation.sample_answers import SAMPLES_FILE_NAME
from transformers_aura.distillation.trainer import AuraTrainer
from transformers_aura.distillation.training_args import AuraTrainingArguments
from transformers_aura.distillation.unsupported_arguments import UNSUPPORTED_ARGUMENTS
from transformers_aura.modeling.modeling_aura import AuraForSpeechQA


REFUSED: dict[str, Any] = {
    "average_tokens_across_devices": False,
    "batch_eval_metrics": True,
    "bf16_full_eval": True,
    "debug": "underflow_overflow",
    "eval_accumulation_steps": 2,
    "eval_do_concat_batches": False,
    "eval_use_gather_object": True,
    "fp16_full_eval": True,
    "include_for_metrics": ["inputs"],
    "label_names": ["labels"],
    "length_column_name": "duration",
    "liger_kernel_config": {"rope": True},
    "logging_nan_inf_filter": True,
    "neftune_noise_alpha": 5.0,
    "optim_target_modules": "all-linear",
    "parallelism_config": SimpleNamespace(),
    "remove_unused_columns": True,
    "use_liger_kernel": True,
}
"""A value of each, with which it is refused."""

STOCK = {
    "the program that reads the arguments": ("do_train", "do_eval", "do_predict", "resume_from_checkpoint"),
    "transformers' loggers and reporters": (
        "disable_tqdm", "log_level", "log_level_replica", "log_on_each_node", "project", "report_to", "run_name",
        "trackio_bucket_id", "trackio_space_id", "trackio_static_space_id",
    ),
    "torch.distributed, before there is a trainer": ("ddp_backend", "ddp_timeout", "local_rank", "save_on_each_node", "use_cpu"),
    "accelerate's wrapper of ForwardPass": ("ddp_broadcast_buffers", "ddp_bucket_cap_mb", "ddp_static_graph"),
    "torch's global settings": ("full_determinism", "tf32", "torch_empty_cache_steps"),
    "the memory tracker around `train`": ("skip_memory_metrics",),
    "`Trainer.init_hf_repo` and `push_to_hub`": (
        "hub_model_id", "hub_private_repo", "hub_revision", "hub_token",
    ),
}  # fmt: skip
"""Whose they are, and the arguments."""

WORKS: dict[str, Callable[..., None]] = {}
"""The check of each of the others."""

Run = Callable[..., AuraTrainer]


def works(*names: str) -> Callable:
    """The check that these arguments do what they should."""

    def enter(check: Callable) -> Callable:
        WORKS.update(dict.fromkeys(names, check))
        return check

    return enter


@pytest.fixture
def run(tmp_path) -> Run:
    """Trains a tiny student with some settings; `resume=` as `train` takes it."""

    def train(output: str = "run", resume: Any = None, **settings: Any) -> AuraTrainer:
        trainer = tiny_trainer(tmp_path, output, **{"max_steps": 2, "lr_scheduler_type": "constant", **settings})
        trainer.train(resume_from_checkpoint=resume)
        return trainer

    return train


def logged(trainer: AuraTrainer, name: str) -> list[Any]:
    return [entry[name] for entry in trainer.state.log_history if name in entry]


def names_in(trainer: AuraTrainer) -> set[str]:
    return {path.name for path in Path(str(trainer.args.output_dir)).glob("checkpoint-*")}


# ---- the table ----


def test_every_argument_is_in_the_table():
    arguments = {field.name for field in dataclasses.fields(TrainingArguments)}
    stock = [name for names in STOCK.values() for name in names]
    table = [*REFUSED, *stock, *WORKS]
    assert len(table) == len(set(table)), "an argument is in the table twice"
    assert set(REFUSED) == set(UNSUPPORTED_ARGUMENTS)
    missing = sorted(arguments - set(table))
    assert not missing, (
        f"transformers {transformers_version} has arguments that nobody has tried with AuraTrainer: {', '.join(missing)}. Try each, and put it into "
        "this table: WORKS with a check, or UNSUPPORTED_ARGUMENTS and REFUSED."
    )


@pytest.mark.parametrize("name", REFUSED)
def test_an_argument_without_effect_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match=rf"`{name}=.*` is not supported: .*\. Leave it out"):
        AuraTrainingArguments(str(tmp_path), report_to="none", use_cpu=True, **{name: REFUSED[name]})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"fp16": True}, "`fp16=True` does nothing on a CPU"),
        ({"push_to_hub": True, "hub_strategy": "all_checkpoints"}, "hub_strategy.*pickles"),
        ({"accelerator_config": {"dispatch_batches": True}}, "dispatch_batches"),
        ({"label_smoothing_factor": 1.5}, "between 0 and 1"),
        ({"label_smoothing_factor": 0.1, "lm_weight": 0.0}, r"acts on the next-token cross-entropy .*cosine, mse"),
        ({"optim": "lomo"}, "lomo"),
    ],
)
def test_a_value_without_effect_is_refused(tmp_path, settings, message):
    with pytest.raises((ValueError, ImportError), match=message):
        tiny_trainer(tmp_path, **settings).train()


@works("fsdp", "fsdp_config")
def sharding(run):
    """Of several processes: `tests_training/test_sharded_training.py`."""
    with pytest.raises(ValueError, match="FSDP was asked for, but there is one process"):
        run(fsdp=True, fsdp_config={"reshard_after_forward": False})


@works("deepspeed")
def zero(run):
    """Of several processes: `tests_training/test_deepspeed.py`."""
    with pytest.raises(ValueError, match="DeepSpeed was asked for, but there is one process"):
        run(deepspeed={"zero_optimization": {"stage": 2}})


# ---- the loop ----


@works(
    "max_steps",
    "num_train_epochs",
    "per_device_train_batch_size",
    "dataloader_drop_last",
    "gradient_accumulation_steps",
)
def length_of_a_run(run):
    """8 rows in batches of 3."""
    settings = {"max_steps": -1, "per_device_train_batch_size": 3, "supervision": "transcript", "teacher": None}
    assert run(num_train_epochs=2, **settings).state.global_step == 6
    assert run(num_train_epochs=1, dataloader_drop_last=True, **settings).state.global_step == 2
    assert run(num_train_epochs=2, gradient_accumulation_steps=2, **settings).state.global_step == 4
    assert run(**{**settings, "max_steps": 1}).state.global_step == 1


@works("learning_rate", "lr_scheduler_type", "lr_scheduler_kwargs", "warmup_steps")
def schedule(run):
    kind = {"lr_scheduler_type": "cosine_with_min_lr", "lr_scheduler_kwargs": {"min_lr": 5e-4}}
    rates = logged(run(learning_rate=1e-3, warmup_steps=2, max_steps=5, **kind), "learning_rate")
    assert rates[:3] == pytest.approx([0, 5e-4, 1e-3])
    assert rates[2] > rates[3] > rates[4] >= 5e-4


@works("optim", "optim_args", "max_grad_norm")
def gradient_descent(tmp_path):
    settings = {"optim": "sgd", "optim_args": "momentum=0.5", "lr_scheduler_type": "constant", "learning_rate": 0.1}
    trainer = tiny_trainer(tmp_path, max_grad_norm=0.5, max_steps=1, **settings)
    before = trained_weights(trainer)
    trainer.train()
    assert type(trainer.optimizer.optimizer) is torch.optim.SGD
    assert trainer.optimizer.param_groups[0]["momentum"] == 0.5
    assert logged(trainer, "grad_norm")[0] > 1
    moves = [
        (weight - before[name]).norm() for name, weight in trained_weights(trainer).items() if ".target_" not in name
    ]
    assert float(torch.stack(moves).norm()) == pytest.approx(0.1 * 0.5, rel=1e-3)


@works("adam_beta1", "adam_beta2", "adam_epsilon", "weight_decay")
def adam(run):
    trainer = run(adam_beta1=0.8, adam_beta2=0.95, adam_epsilon=1e-6, weight_decay=0.1, max_steps=1)
    groups = trainer.optimizer.param_groups
    assert {(group["betas"], group["eps"]) for group in groups} == {((0.8, 0.95), 1e-6)}
    assert {group["weight_decay"] for group in groups if group["params"][0].ndim > 1} == {0.1}


@works("label_smoothing_factor")
def smoothed_labels(run):
    trainer = run(label_smoothing_factor=0.2, supervision="transcript", teacher=None)
    batch = trainer.data_collator(tiny_rows(4))
    trainer.model.eval()
    with torch.no_grad():
        logits = trainer.model(**{name: value for name, value in batch.items() if name != "labels"}).logits
        expected = LabelSmoother(0.2)({"logits": logits}, batch["labels"], shift_labels=True)
        torch.testing.assert_close(
            trainer.compute_loss(trainer.forward_pass, dict(batch)), expected, rtol=1e-5, atol=1e-5
        )


@works("bf16")
def mixed_precision(run):
    plain, mixed = run("plain"), run("mixed", bf16=True)
    torch.testing.assert_close(torch.tensor(step_logs(mixed)), torch.tensor(step_logs(plain)), rtol=0.05, atol=0.05)
    assert step_logs(mixed) != step_logs(plain)
    assert {p.dtype for p in mixed.model.parameters()} == {torch.float32}


@works("fp16")
def half_precision(run):
    """Needs a GPU; what of it is ours, the loss scale, is tried in `test_divergence.py`."""


@works(
    "gradient_checkpointing",
    "gradient_checkpointing_kwargs",
    "activation_checkpointing",
    "activation_checkpointing_kwargs",
)
def checkpointed_activations(run):
    plain = run("plain")
    # Newer releases of transformers call it otherwise, and can leave layers out.
    new = hasattr(plain.args, "activation_checkpointing")
    name, kwargs = (
        ("activation_checkpointing", {"every_n_layers": 2})
        if new
        else ("gradient_checkpointing", {"use_reentrant": False})
    )
    saving = run("saving", **{name: True, f"{name}_kwargs": kwargs})
    flags = [layer.gradient_checkpointing for layer in saving.model.model.language_model.layers]
    assert sum(flags) == (2 if new else 3)
    torch.testing.assert_close(torch.tensor(step_logs(saving)), torch.tensor(step_logs(plain)), rtol=1e-4, atol=1e-4)


@works("torch_compile", "torch_compile_backend", "torch_compile_mode")
def compiled(run, monkeypatch):
    asked = []
    monkeypatch.setattr(torch, "compile", lambda module, **kwargs: (asked.append((module, kwargs)), module)[1])
    trainer = run(torch_compile=True, torch_compile_backend="eager", max_steps=1)
    assert asked[0][0] is trainer.forward_pass
    assert asked[0][1]["backend"] == "eager"


@works("use_cache", "output_dir")
def cache_in_the_saved_config(run, tmp_path):
    trainer = run("elsewhere", use_cache=False, max_steps=1)
    trainer.save_model()
    assert json.loads((tmp_path / "elsewhere" / "config.json").read_text())["use_cache"] is False


@works("auto_find_batch_size")
def smaller_batches_when_memory_is_short(run, tmp_path):
    settings = {"gradient_accumulation_steps": 2, "max_steps": 1, "lr_scheduler_type": "constant"}
    trainer = tiny_trainer(tmp_path, auto_find_batch_size=True, per_device_train_batch_size=4, **settings)
    objective, sizes = trainer.objectives["lm"], []
    loss = objective.loss

    def needs_much(outputs):
        sizes.append(len(outputs.batch["input_ids"]))
        if sizes[-2:] in ([4, 4], [3, 3]):  # in the second micro-batch of a step
            raise RuntimeError("CUDA out of memory.")
        return loss(outputs)

    objective.loss = needs_much
    trainer.train()
    assert sizes == [4, 4, 3, 3, 2, 2]
    by_hand = run("by_hand", per_device_train_batch_size=2, **settings)
    assert step_logs(trainer, "lm_loss") == step_logs(by_hand, "lm_loss"), "what was tried before leaves no trace"


# ---- logs, evaluations, checkpoints ----


@works("logging_strategy", "logging_steps", "logging_first_step", "include_num_input_tokens_seen")
def logs(run):
    trainer = run(logging_steps=3, logging_first_step=True, max_steps=4, include_num_input_tokens_seen="non_padding")
    entries = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert [entry["step"] for entry in entries] == [1, 3]
    rows = trainer.data_collator(tiny_rows())
    assert entries[1]["num_input_tokens_seen"] * 2 == pytest.approx(3 * int(rows["attention_mask"].sum()), rel=0.2)
    by_epoch = run("epochs", logging_strategy="epoch", max_steps=4)
    assert [entry["step"] for entry in by_epoch.state.log_history if "loss" in entry] == [2, 4]


@works(
    "eval_strategy", "eval_steps", "eval_delay", "eval_on_start", "per_device_eval_batch_size", "prediction_loss_only"
)
def evaluations(run, tmp_path):
    when = {"eval_strategy": "steps", "eval_steps": 1, "eval_delay": 2, "max_steps": 3}
    trainer = run(eval_dataset=tiny_rows(3), per_device_eval_batch_size=2, prediction_loss_only=True, **when)
    assert [entry["step"] for entry in trainer.state.log_history if "eval_loss" in entry] == [2, 3]
    assert [len(batch["input_ids"]) for batch in trainer.get_eval_dataloader()] == [2, 1]
    assert trainer.predict(tiny_rows(2)).predictions is None
    assert len(tiny_trainer(tmp_path, "texts", generation_max_new_tokens=1).predict(tiny_rows(2)).predictions) == 2
    first = run("first", eval_dataset=tiny_rows(2), eval_on_start=True, max_steps=1)
    assert [entry["step"] for entry in first.state.log_history if "eval_loss" in entry] == [0]


@works(
    "save_strategy",
    "save_steps",
    "save_total_limit",
    "save_only_model",
    "load_best_model_at_end",
    "metric_for_best_model",
    "greater_is_better",
)
def saving(run):
    trainer = run(save_strategy="steps", save_steps=1, save_total_limit=2, max_steps=4)
    assert names_in(trainer) == {"checkpoint-3", "checkpoint-4"}
    # A larger loss is called better: it rises until step 2, and falls from then on.
    best = {"metric_for_best_model": "lm_loss", "greater_is_better": True, "learning_rate": 1e-2}
    settings = {**best, "eval_dataset": tiny_rows(2), "save_only_model": True}
    when = {"save_strategy": "epoch", "eval_strategy": "epoch", "max_steps": 4}
    trainer = run("best", load_best_model_at_end=True, save_total_limit=1, **settings, **when)
    assert names_in(trainer) == {"checkpoint-2"}
    with pytest.raises(ValueError, match=r"checkpoint-2 lacks optimizer\.pt"):
        run("best", resume=trainer.state.best_model_checkpoint)
    only = run("only", save_strategy="best", eval_strategy="steps", eval_steps=1, **settings)
    assert names_in(only) == {"checkpoint-1", "checkpoint-2"}


@works("enable_jit_checkpoint")
def checkpoint_when_a_scheduler_ends_the_process(run, tmp_path):
    class Signal(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            jit = next(
                each for each in trainer.callback_handler.callbacks if type(each).__name__ == "JITCheckpointCallback"
            )
            jit.jit_manager.is_checkpoint_requested = state.global_step == 1

    settings = {"max_steps": 3, "lr_scheduler_type": "constant", "save_strategy": "steps", "save_steps": 10}
    trainer = tiny_trainer(tmp_path, callbacks=[Signal()], enable_jit_checkpoint=True, **settings)
    trainer.train()
    assert last_complete_checkpoint(tmp_path / "run") == str(tmp_path / "run" / "checkpoint-1")
    resumed, whole = run(resume=True, **settings), run("whole", **settings)
    assert_same_weights(trained_weights(resumed), trained_weights(whole))


@works("ignore_data_skip", "restore_callback_states_from_checkpoint")
def resuming(run):
    settings = {"max_steps": 3, "per_device_train_batch_size": 2, "save_strategy": "steps", "save_steps": 1}
    run(callbacks=[StopAfter(1)], **settings)
    again = run(resume=True, ignore_data_skip=True, restore_callback_states_from_checkpoint=True, **settings)
    whole = run("whole", **settings)
    assert again.state.global_step == 3
    assert step_logs(again)[0] == step_logs(whole)[0]
    assert step_logs(again)[1] != step_logs(whole)[1], "the second step sees the rows of the first"


@works("push_to_hub", "hub_strategy")
def upload_when_saved(run, fake_hub, may_write):
    when = {"save_strategy": "steps", "save_steps": 1, "eval_strategy": "steps", "eval_steps": 1, "max_steps": 1}
    answers = {"eval_dataset": tiny_rows(2), "compute_metrics": lambda prediction: {}, "generation_max_new_tokens": 1}
    trainer = run(push_to_hub=True, hub_model_id="org/tiny", **when, **answers)
    assert (Path(trainer.args.output_dir) / SAMPLES_FILE_NAME).exists()
    trainer.save_model()
    files = set(HfApi().list_repo_files("org/tiny"))
    assert {"model.safetensors", "config.json", "README.md"} <= files
    assert not {
        name
        for name in files
        if name.endswith((".bin", ".pt", ".pth")) or name.startswith(("checkpoint", "distillation", "_"))
    }
    student = AuraForSpeechQA.from_pretrained("org/tiny")
    prompt = {"input_ids": torch.tensor([[1, 2, 3]]), "audio_rows": torch.tensor([True])}
    assert torch.equal(student.model(**prompt)[0], trainer.model.eval().model(**prompt)[0])


@works("hub_always_push")
def upload_with_each_checkpoint(run, fake_hub, may_write):
    when = {"hub_strategy": "every_save", "save_strategy": "steps", "save_steps": 1, "max_steps": 2}
    trainer = run(push_to_hub=True, hub_model_id="org/tiny", hub_always_push=True, **when)
    api = HfApi()
    assert len(fake_hub.requested("POST", r"/commit/main")) == 2
    assert not [
        name for name in api.list_repo_files("org/tiny") if name.endswith((".bin", ".pt", ".pth")) or "/" in name
    ]
    student = AuraForSpeechQA.from_pretrained("org/tiny")
    weights = dict(trainer.model.named_parameters())
    assert all(torch.equal(each, weights[name]) for name, each in student.named_parameters() if each.requires_grad)


# ---- data ----


@works("seed", "data_seed", "train_sampling_strategy")
def order_of_the_rows(run):
    class Rows(list):
        seconds = tuple(range(8))

    rows = Rows({"audio": audio(0.3), "transcript": f"hear {index}"} for index in range(8))

    def read(output: str, **settings: Any) -> str:
        order = []

        class Reader(TrainerCallback):
            def on_train_begin(self, args, state, control, train_dataloader, **kwargs):
                order.extend(
                    train_dataloader.dataset[index]["transcript"][-1]
                    for index in train_dataloader.batch_sampler.sampler
                )

        run(
            output,
            train_dataset=rows,
            callbacks=[Reader()],
            per_device_train_batch_size=2,
            max_steps=1,
            supervision="transcript",
            teacher=None,
            **settings,
        )
        assert sorted(order) == list("01234567")
        return "".join(order)

    assert read("a", train_sampling_strategy="sequential") == "01234567"
    for strategy in ("random", "group_by_length"):
        orders = [read("b", seed=1, data_seed=data_seed, train_sampling_strategy=strategy) for data_seed in (2, 2, 3)]
        assert orders[0] == orders[1] != orders[2]


@works("accelerator_config", "ddp_find_unused_parameters")
def rows_of_every_process(run):
    trainer = run(accelerator_config={"split_batches": True}, max_steps=1)
    assert trainer.accelerator.dataloader_config.dispatch_batches is False
    assert trainer.accelerator.split_batches
    assert trainer.args.ddp_find_unused_parameters is False


@works(
    "dataloader_num_workers",
    "dataloader_persistent_workers",
    "dataloader_prefetch_factor",
    "dataloader_multiprocessing_context",
    "dataloader_pin_memory",
    "dataloader_in_order",
)
def loaders(run):
    settings = {"dataloader_num_workers": 1, "dataloader_persistent_workers": True, "dataloader_prefetch_factor": 3}
    trainer = run(
        eval_dataset=tiny_rows(2), dataloader_multiprocessing_context="fork", dataloader_in_order=False, **settings
    )
    loader = trainer.get_train_dataloader()
    assert (loader.num_workers, loader.persistent_workers, loader.prefetch_factor, loader.in_order) == (
        1,
        True,
        3,
        False,
    )
    for each in (loader, trainer.get_eval_dataloader()):
        assert (
            each.num_workers,
            each.prefetch_factor,
            each.multiprocessing_context.get_start_method(),
            each.pin_memory,
        ) == (1, 3, "fork", False)
    assert step_logs(trainer) == step_logs(run("alone"))


@pytest.mark.parametrize("check", dict.fromkeys(WORKS.values()), ids=lambda check: check.__name__)
def test_an_argument_works(request, check):
    """A check gets the fixtures that it names."""
    check(**{name: request.getfixturevalue(name) for name in inspect.signature(check).parameters})
