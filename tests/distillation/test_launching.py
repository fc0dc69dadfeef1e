"""What launchers ask for comes true, or is an error before the training."""

import os
from typing import Any

import pytest

from transformers_aura.distillation.launching import Sharding, asked_sharding
from transformers_aura.distillation.training_args import AuraTrainingArguments


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
        ({"ACCELERATE_USE_DEEPSPEED": "true"}, {"use_cpu": True}, "DeepSpeed was asked for"),
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
