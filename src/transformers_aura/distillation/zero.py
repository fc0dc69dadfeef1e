"""What was asked for of DeepSpeed's ZeRO, by its config or by `accelerate launch`; what would not come true is an error, before the training."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from transformers import TrainingArguments
from transformers.training_args import OptimizerNames
from transformers.utils import logging

from .launching import is_true


logger = logging.get_logger(__name__)


@dataclass(frozen=True)
class Zero:
    """
    What DeepSpeed keeps of the training in parts, one a process.

    Attributes:
        stage: 1 = the optimizer's state; 2 = the gradients, too, once they are reduced; 3 = the frozen decoder layers, too, which FSDP2 shards.
        buckets: DeepSpeed's settings of how much it sends at once.
    """

    stage: int
    buckets: Mapping[str, int] = field(default_factory=dict)


_BUCKETS = ("allgather_bucket_size", "reduce_bucket_size")

_WITHOUT_EFFECT = {
    "allgather_partitions",
    "contiguous_gradients",
    "overlap_comm",
    "reduce_scatter",
    "stage3_gather_16bit_weights_on_model_save",
    "stage3_max_live_parameters",
    "stage3_max_reuse_distance",
    "stage3_param_persistence_threshold",
    "stage3_prefetch_bucket_size",
    "sub_group_size",
}
"""Settings of speed and memory, which change no result."""

_WITHOUT_MEANING = {
    "steps_per_print",
    "wall_clock_breakdown",
    "zero_allow_untested_optimizer",
    "zero_force_ds_cpu_optimizer",
}
"""Settings of what DeepSpeed prints and of optimizers that are not used."""

_OPTIMIZERS = ("adamw_torch", "adamw_torch_fused")

_ADVICE = {
    "offload_optimizer": "weights and optimizer stay on the GPUs; use more of them",
    "offload_param": "weights and optimizer stay on the GPUs; use more of them",
    "optimizer": "the arguments choose it: `optim`, `learning_rate`, `weight_decay`, ...",
    "scheduler": "the arguments choose it: `lr_scheduler_type`, `warmup_steps`",
}
"""What there is in place of what is not supported."""


def asked_zero(args: TrainingArguments) -> Zero | None:
    """What was asked for by `deepspeed` (a config, or the path of one), or else by what `accelerate launch` put into the environment; `None` = nothing.

    Raises:
        ValueError: a setting that has no effect, or another one than an argument says.
    """
    if args.deepspeed:
        config = _read(args.deepspeed)
    elif is_true(os.environ.get("ACCELERATE_USE_DEEPSPEED")):
        config = _launched()
    else:
        return None
    zero = _zero(config.pop("zero_optimization", None) or {})
    num_rows = args.per_device_train_batch_size * args.gradient_accumulation_steps
    agreed = {
        "bf16": args.bf16,
        "fp16": args.fp16,
        "gradient_accumulation_steps": args.gradient_accumulation_steps,
        "gradient_clipping": args.max_grad_norm,
        "train_batch_size": num_rows * args.world_size,
        "train_micro_batch_size_per_gpu": args.per_device_train_batch_size,
    }
    for name, value in config.items():
        if isinstance(value, Mapping) and name in ("bf16", "fp16"):
            value = value.get("enabled", False)
        if name in agreed:
            if value != "auto" and _number(value) != float(agreed[name]):
                raise ValueError(
                    f'DeepSpeed\'s `{name}` is {value!r}, and the training arguments say {agreed[name]!r}: set it to "auto", or leave it out.'
                )
        elif name not in _WITHOUT_MEANING:
            raise ValueError(f"DeepSpeed's `{name}` is not supported{_instead(name)}. Leave it out.")
    if args.fp16:
        raise ValueError("`fp16` is not supported with DeepSpeed: use `bf16`, or DDP or FSDP2 (docs/distributed.md).")
    if args.optim not in _OPTIMIZERS:
        raise ValueError(
            f"`optim={OptimizerNames(args.optim).value}` is not supported with DeepSpeed; use {' or '.join(_OPTIMIZERS)}."
        )
    return zero


def _read(config: Any) -> dict[str, Any]:
    if isinstance(config, Mapping):
        return dict(config)
    try:
        return dict(json.loads(Path(config).read_text(encoding="utf-8")))
    except (OSError, TypeError, ValueError) as error:
        raise ValueError(
            f"`deepspeed={config!r}` must be DeepSpeed's config, a dict or the path of a JSON file ({error})."
        ) from error


def _launched() -> dict[str, Any]:
    """The config that `accelerate launch` means: a file, or what its options say."""
    prefix = "ACCELERATE_DEEPSPEED_"
    path = os.environ.get(f"{prefix}CONFIG_FILE", "none")
    if path.lower() != "none":
        return _read(path)
    optimization: dict[str, Any] = {"stage": int(os.environ.get(f"{prefix}ZERO_STAGE", 2))}
    for name in ("OFFLOAD_OPTIMIZER", "OFFLOAD_PARAM"):
        optimization[name.lower()] = {"device": os.environ.get(f"{prefix}{name}_DEVICE", "none")}
    config: dict[str, Any] = {"zero_optimization": optimization}
    if (classes := os.environ.get(f"{prefix}MOE_LAYER_CLS_NAMES", "none")).lower() != "none":
        config["moe_layer_cls_names"] = classes
    for name in ("gradient_accumulation_steps", "gradient_clipping"):
        if (value := os.environ.get(f"ACCELERATE_{name.upper()}", "none")) != "none":
            config[name] = value
    if config.get("gradient_accumulation_steps") == "1":  # what `accelerate launch` says where nobody has asked
        del config["gradient_accumulation_steps"]
    return config


def _zero(settings: Mapping[str, Any]) -> Zero:
    if settings.get("stage") not in (1, 2, 3):
        raise ValueError(
            f"DeepSpeed's ZeRO needs a stage (`zero_optimization.stage`): 1, 2 or 3, got {settings.get('stage')!r}."
        )
    ignored = []
    for name, value in settings.items():
        if name in ("stage", *_BUCKETS):
            continue
        if name in _WITHOUT_EFFECT:
            ignored.append(name)
        elif not (
            name.startswith("offload_") and isinstance(value, Mapping) and value.get("device") in (None, "none")
        ):
            raise ValueError(
                f"DeepSpeed's `zero_optimization.{name}={value!r}` is not supported{_instead(name)}. Leave it out."
            )
    if ignored:
        logger.warning(f"Of DeepSpeed's `zero_optimization` these have no effect: {', '.join(ignored)}.")
    buckets = {name: int(settings[name]) for name in _BUCKETS if settings.get(name, "auto") != "auto"}
    return Zero(settings["stage"], buckets)


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


def _instead(name: str) -> str:
    return f": {_ADVICE[name]}" if name in _ADVICE else ""


def check_zero(args: TrainingArguments, zero: Zero | None) -> None:
    """
    Args:
        args: whose processes are connected already.
        zero: what was asked for.

    Raises:
        ValueError: there is one process, or DeepSpeed is not installed.
    """
    if zero is None:
        return
    if args.world_size == 1:
        raise ValueError(
            "DeepSpeed was asked for, but there is one process: start several (`torchrun --nproc_per_node ...`, `accelerate launch --num_processes ...`), or "
            "train without it."
        )
    if find_spec("deepspeed") is None:
        raise ValueError("DeepSpeed was asked for, but is not installed: `pip install transformers-aura[deepspeed]`.")
