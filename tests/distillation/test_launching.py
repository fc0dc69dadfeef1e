"""What launchers ask for comes true, or is an error before the training."""

import os
from typing import Any

import pytest

from transformers_aura.distillation.launching import Sharding, asked_sharding
from transformers_aura.distillation.training_args import AuraTrainingArguments
from transformers_aura.distillation.zero import Zero, check_zero


LAUNCHED = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}


@pytest.fixture
def arguments(tmp_path, monkeypatch):
    """Arguments under an environment."""
    monkeypatch.setenv("FSDP_CPU_RAM_EFFICIENT_LOADING", "false")

    def make(environment: dict[str, str], **settings: Any) -> AuraTrainingArguments:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        return AuraTrainingArguments(str(tmp_path), report_to="none", **settings)

    return make


@pytest.mark.parametrize(
    ("environment", "settings", "message"),
    [
        ({"ACCELERATE_USE_MEGATRON_LM": "true"}, {"use_cpu": True}, "Megatron-LM was asked for"),
        ({"ACCELERATE_USE_PARALLELISM_CONFIG": "true"}, {"use_cpu": True}, "tensor, context or sequence parallelism"),
        ({"WORLD_SIZE": "2"}, {"use_cpu": False}, "2 processes were started, .* each would train alone.*use_cpu"),
        ({"ACCELERATE_MIXED_PRECISION": "no", "MASTER_ADDR": "127.0.0.1"}, {}, "asked for several processes and started one"),
        (LAUNCHED | {"FSDP_VERSION": "1"}, {}, "FSDP1 was asked for"),
        (LAUNCHED | {"FSDP_OFFLOAD_PARAMS": "true"}, {}, "`offload_params='true'` is not supported: .*more of them"),
        (LAUNCHED | {"FSDP_ACTIVATION_CHECKPOINTING": "true"}, {}, "gradient_checkpointing"),
        (LAUNCHED | {"FSDP_AUTO_WRAP_POLICY": "SIZE_BASED_WRAP"}, {}, "each decoder layer is sharded"),
        (LAUNCHED | {"FSDP_SHARDING_STRATEGY": "NO_SHARD"}, {}, "'no_shard' is not supported"),
        ({}, {"fsdp": "full_shard offload"}, "not supported: weights stay on the GPUs"),
        ({}, {"fsdp": True, "fsdp_config": {"fsdp_version": 1}}, "FSDP1 was asked for"),
        ({}, {"fsdp": True, "fsdp_config": {"limit_all_gathers": True}}, "`limit_all_gathers=True` is not supported"),
        ({}, {"fsdp_config": {"reshard_after_forward": False}}, "no effect without `fsdp`"),
    ],
)  # fmt: skip
def test_what_would_not_come_true_is_refused(arguments, environment, settings, message):
    with pytest.raises(ValueError, match=message):
        arguments(environment, **settings)


@pytest.mark.parametrize(
    ("environment", "settings", "expected"),
    [
        ({}, {}, None),
        ({}, {"fsdp": True}, Sharding()),
        ({}, {"fsdp": "full_shard auto_wrap"}, Sharding()),
        ({}, {"fsdp": "shard_grad_op"}, Sharding(reshard_after_forward=False)),
        ({}, {"fsdp": "hybrid_shard"}, Sharding(within_node=True)),
        ({}, {"fsdp": True, "fsdp_config": {"fsdp_reshard_after_forward": False}}, Sharding(False)),
        (LAUNCHED, {}, Sharding()),
        (
            LAUNCHED | {"FSDP_SHARDING_STRATEGY": "HYBRID_SHARD", "FSDP_RESHARD_AFTER_FORWARD": "false", "FSDP_MIN_NUM_PARAMS": "100000000"},
            {},
            Sharding(reshard_after_forward=False, within_node=True),
        ),
        (LAUNCHED | {"FSDP_TRANSFORMER_CLS_TO_WRAP": "Qwen2DecoderLayer"}, {}, Sharding(layer_classes=("Qwen2DecoderLayer",))),
    ],
)  # fmt: skip
def test_what_is_asked_for(arguments, monkeypatch, environment, settings, expected):
    args = arguments({})
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    args.fsdp, args.fsdp_config = settings.get("fsdp"), settings.get("fsdp_config")
    assert asked_sharding(args) == expected
    assert asked_sharding(args) == expected, "arguments that were read once say the same"


def test_every_process_loads_the_base(arguments, monkeypatch):
    # The default of `accelerate launch`; transformers would give all processes but one a base LLM without weights.
    args = arguments({})
    for name, value in (LAUNCHED | {"FSDP_CPU_RAM_EFFICIENT_LOADING": "true"}).items():
        monkeypatch.setenv(name, value)
    assert asked_sharding(args) == Sharding()
    assert os.environ["FSDP_CPU_RAM_EFFICIENT_LOADING"] == "false"


DEEPSPEED = {"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_DEEPSPEED_ZERO_STAGE": "3"}


@pytest.mark.parametrize(
    ("environment", "settings", "expected"),
    [
        ({}, {"deepspeed": {"zero_optimization": {"stage": 1}}}, Zero(1)),
        (
            {},
            {
                "deepspeed": {
                    "bf16": {"enabled": "auto"},
                    "fp16": {"enabled": False},
                    "gradient_accumulation_steps": "auto",
                    "gradient_clipping": 0.5,
                    "steps_per_print": 100,
                    "train_batch_size": 6,
                    "train_micro_batch_size_per_gpu": 3,
                    "zero_optimization": {
                        "stage": 2,
                        "allgather_bucket_size": "auto",
                        "offload_optimizer": {"device": "none", "pin_memory": True},
                        "overlap_comm": True,
                        "reduce_bucket_size": 5e8,
                    },
                },
                "max_grad_norm": 0.5,
                "per_device_train_batch_size": 3,
                "gradient_accumulation_steps": 2,
            },
            Zero(2, {"reduce_bucket_size": 500_000_000}),
        ),
        ({"ACCELERATE_USE_DEEPSPEED": "true"}, {}, Zero(2)),
        (DEEPSPEED | {"ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "1"}, {"gradient_accumulation_steps": 4}, Zero(3)),
        (DEEPSPEED | {"ACCELERATE_GRADIENT_CLIPPING": "0.5"}, {"max_grad_norm": 0.5}, Zero(3)),
        (DEEPSPEED, {"deepspeed": {"zero_optimization": {"stage": 1}}}, Zero(1)),
    ],
)  # fmt: skip
def test_what_is_asked_of_deepspeed(arguments, environment, settings, expected):
    args = arguments(environment, use_cpu=True, **settings)
    assert args.zero == expected
    assert args.deepspeed == settings.get("deepspeed")
    # Of stage 3, FSDP2 does what concerns the base LLM.
    assert args.sharding == (Sharding() if expected.stage == 3 else None)
    with pytest.raises(ValueError, match="DeepSpeed was asked for, but there is one process"):
        check_zero(args, args.zero)


def test_deepspeed_by_a_file(arguments, tmp_path):
    path = tmp_path / "deepspeed.json"
    path.write_text('{"zero_optimization": {"stage": 1}}')
    assert arguments({}, use_cpu=True, deepspeed=str(path)).zero == Zero(1)
    assert arguments(DEEPSPEED | {"ACCELERATE_DEEPSPEED_CONFIG_FILE": str(path)}, use_cpu=True).zero == Zero(1)


def zero_2(**settings: Any) -> dict[str, Any]:
    return {"zero_optimization": {"stage": 2, **settings}}


@pytest.mark.parametrize(
    ("environment", "settings", "message"),
    [
        ({}, {"deepspeed": {"bf16": {"enabled": False}}}, "ZeRO needs a stage"),
        ({}, {"deepspeed": {"zero_optimization": {"stage": 0}}}, "1, 2 or 3, got 0"),
        ({}, {"deepspeed": zero_2(offload_optimizer={"device": "cpu"})}, "`zero_optimization.offload_optimizer=.*stay on the GPUs"),
        ({}, {"deepspeed": zero_2(offload_param={"device": "nvme"})}, "stay on the GPUs"),
        ({}, {"deepspeed": zero_2(zero_quantized_gradients=True)}, "`zero_optimization.zero_quantized_gradients=True` is not supported"),
        ({}, {"deepspeed": zero_2(zero_hpz_partition_size=8)}, "zero_hpz_partition_size"),
        ({}, {"deepspeed": zero_2() | {"optimizer": {"type": "AdamW"}}}, "`optimizer` is not supported: the arguments choose it: `optim`"),
        ({}, {"deepspeed": zero_2() | {"scheduler": {"type": "WarmupLR"}}}, "`scheduler` is not supported: .*`lr_scheduler_type`"),
        ({}, {"deepspeed": zero_2() | {"pipeline": {"stages": 2}}}, "DeepSpeed's `pipeline` is not supported. Leave it out"),
        ({}, {"deepspeed": zero_2() | {"tensor_parallel": {"autotp_size": 2}}}, "`tensor_parallel` is not supported"),
        ({}, {"deepspeed": zero_2() | {"gradient_clipping": 0.5}}, "`gradient_clipping` is 0.5, and the training arguments say 1.0"),
        ({}, {"deepspeed": zero_2() | {"train_batch_size": 64}}, "`train_batch_size` is 64, and the training arguments say 8"),
        ({}, {"deepspeed": zero_2() | {"train_batch_size": "all"}}, "`train_batch_size` is 'all'"),
        ({}, {"deepspeed": zero_2() | {"bf16": {"enabled": True}}}, "`bf16` is True, and the training arguments say False"),
        ({}, {"deepspeed": zero_2() | {"fp16": {"enabled": True}}}, "`fp16` is True"),
        ({}, {"deepspeed": zero_2(), "optim": "adafactor"}, "`optim=adafactor` is not supported with DeepSpeed; use adamw_torch"),
        ({}, {"deepspeed": "nowhere.json"}, "must be DeepSpeed's config, .*No such file"),
        ({}, {"deepspeed": zero_2(), "fsdp": True}, "Both FSDP and DeepSpeed"),
        (LAUNCHED, {"deepspeed": zero_2()}, "Both FSDP and DeepSpeed"),
        (DEEPSPEED | {"ACCELERATE_DEEPSPEED_OFFLOAD_PARAM_DEVICE": "cpu"}, {}, "offload_param.*stay on the GPUs"),
        (DEEPSPEED | {"ACCELERATE_DEEPSPEED_MOE_LAYER_CLS_NAMES": "Expert"}, {}, "`moe_layer_cls_names` is not supported"),
        (DEEPSPEED | {"ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "4"}, {}, "`gradient_accumulation_steps` is '4', and the training arguments say 1"),
        (DEEPSPEED | {"ACCELERATE_GRADIENT_CLIPPING": "1"}, {"max_grad_norm": 0.5}, "`gradient_clipping` is '1'"),
        (DEEPSPEED | {"ACCELERATE_DEEPSPEED_CONFIG_FILE": "nowhere.json"}, {}, "No such file"),
    ],
)  # fmt: skip
def test_what_deepspeed_would_not_do_is_refused(arguments, environment, settings, message):
    with pytest.raises(ValueError, match=message):
        arguments(environment, use_cpu=True, **settings)


def test_deepspeed_must_be_installed(arguments, monkeypatch):
    args = arguments({}, use_cpu=True, deepspeed=zero_2())
    monkeypatch.setattr(type(args), "world_size", property(lambda self: 2))
    monkeypatch.setattr("transformers_aura.distillation.zero.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"not installed: `pip install transformers-aura\[deepspeed\]`"):
        check_zero(args, args.zero)
