"""What a training over several processes was asked to be, by its arguments and by its launcher; what would not come true is an error, before the training.

`accelerate launch` hands its config file over as environment variables, most of which accelerate itself reads on GPUs only.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from packaging.version import parse
from transformers import TrainingArguments
from transformers.utils import logging


logger = logging.get_logger(__name__)


@dataclass(frozen=True)
class Sharding:
    """
    How the base LLM is sharded (FSDP2).

    Attributes:
        reshard_after_forward: a layer is given back after its forward pass and gathered again for backward; `False` = it is kept until then.
        within_node: the processes of each node hold one copy together; `False` = all processes do.
        layer_classes: names of the decoder layers' classes, where they were asked for.
    """

    reshard_after_forward: bool = True
    within_node: bool = False
    layer_classes: tuple[str, ...] = ()


STRATEGIES = {
    "full_shard": Sharding(),
    "shard_grad_op": Sharding(reshard_after_forward=False),
    "hybrid_shard": Sharding(within_node=True),
    "hybrid_shard_zero2": Sharding(reshard_after_forward=False, within_node=True),
}
"""By FSDP's names of them."""

_OTHER_SETTINGS = {
    "activation_checkpointing": "use the training argument `gradient_checkpointing`",
    "activation_checkpointing_offload": "use the training argument `gradient_checkpointing`",
    "cpu_offload": "weights stay on the GPUs; shard over more of them",
    "ignored_modules": "what is trained is left whole, each decoder layer is sharded",
    "min_num_params": "each decoder layer is sharded",
    "offload_params": "weights stay on the GPUs; shard over more of them",
    "xla": "torch's FSDP2 is used",
    "xla_fsdp_grad_ckpt": "torch's FSDP2 is used",
    "xla_fsdp_settings": "torch's FSDP2 is used",
    "xla_fsdp_v2": "torch's FSDP2 is used",
}
"""Settings of FSDP that are not supported, and what there is instead."""

_KNOWN_SETTINGS = {
    "auto_wrap_policy",
    "cpu_ram_efficient_loading",
    "reshard_after_forward",
    "sharding_strategy",
    "state_dict_type",  # of no meaning here: no checkpoint holds anything that is sharded
    "transformer_layer_cls_to_wrap",
    "version",
}

_VARIABLES = {
    "FSDP_ACTIVATION_CHECKPOINTING": "activation_checkpointing",
    "FSDP_AUTO_WRAP_POLICY": "auto_wrap_policy",
    "FSDP_IGNORED_MODULES": "ignored_modules",
    "FSDP_OFFLOAD_PARAMS": "offload_params",
    "FSDP_RESHARD_AFTER_FORWARD": "reshard_after_forward",
    "FSDP_SHARDING_STRATEGY": "sharding_strategy",
    "FSDP_TRANSFORMER_CLS_TO_WRAP": "transformer_layer_cls_to_wrap",
    "FSDP_VERSION": "version",
}
"""Settings by the environment variables of `accelerate launch`."""

_OTHER_LAUNCHES = {
    "ACCELERATE_USE_MEGATRON_LM": "Megatron-LM",
    "ACCELERATE_USE_PARALLELISM_CONFIG": "`parallelism_config` (tensor, context or sequence parallelism)",
}

_PROCESS_COUNTS = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
"""Where torchrun and MPI say how many processes there are."""


def asked_sharding(args: TrainingArguments) -> Sharding | None:
    """How the base LLM is to be sharded, by `fsdp` and `fsdp_config` and by what `accelerate launch` put into the environment; `None` = not at all.

    `fsdp` of `args` is `True` or as it was afterwards, and `fsdp_config` says the rest.

    Raises:
        ValueError: FSDP1, a setting that would have no effect, or another kind of training altogether.
    """
    for variable, what in _OTHER_LAUNCHES.items():
        if is_true(os.environ.get(variable)):
            raise ValueError(
                f"{what} was asked for ({variable} is set, as `accelerate launch` does), which AuraTrainer does not support. Use FSDP2 "
                "(`fsdp=True`), DeepSpeed (`deepspeed`) or DDP (`torchrun`): docs/distributed.md."
            )
    is_on = is_true(os.environ.get("ACCELERATE_USE_FSDP"))
    settings: dict[str, Any] = {}
    if is_on:
        settings = {name: os.environ[key] for key, name in _VARIABLES.items() if os.environ.get(key)}
    config = args.fsdp_config or {}
    if not isinstance(config, Mapping):
        raise ValueError(f"`fsdp_config={config!r}` must be the settings themselves, a dict.")
    if config and not args.fsdp:
        raise ValueError("`fsdp_config` has no effect without `fsdp`: set `fsdp=True` too, or leave it out.")
    if args.fsdp:
        config = {name.removeprefix("fsdp_"): value for name, value in config.items()} | _named_strategy(args.fsdp)
        args.fsdp, args.fsdp_config = True, config  # as transformers itself does
        settings |= config
    if not is_on and not args.fsdp:
        return None
    return sharding_of(settings)


def _named_strategy(fsdp: Any) -> dict[str, str]:
    """The strategy in one of the older forms of `fsdp`: `"full_shard auto_wrap"`, or a list."""
    if fsdp is True:
        return {}
    words = fsdp.split() if isinstance(fsdp, str) else [str(getattr(word, "value", word)) for word in fsdp]
    names = [word.lower() for word in words if word.lower() not in ("auto_wrap", "true")]
    if "offload" in names:
        raise ValueError(f"`fsdp={fsdp!r}` is not supported: {_OTHER_SETTINGS['cpu_offload']}.")
    return {"sharding_strategy": " ".join(names)} if names else {}


def sharding_of(settings: Mapping[str, Any]) -> Sharding:
    """
    Args:
        settings: of FSDP, by name; those of a launcher are texts.

    Raises:
        ValueError: one would have no effect.
    """
    for name, value in settings.items():
        if name in _OTHER_SETTINGS and value not in (None, 0, "") and not _is_false(value):
            raise ValueError(f"FSDP's `{name}={value!r}` is not supported: {_OTHER_SETTINGS[name]}. Leave it out.")
        if name not in _KNOWN_SETTINGS and name not in _OTHER_SETTINGS:
            raise ValueError(f"FSDP's `{name}={value!r}` is not supported. Leave it out.")
    if str(settings.get("version", 2)) != "2":
        raise ValueError(
            f"FSDP{settings['version']} was asked for; the base LLM is sharded by FSDP2. Set `fsdp_version: 2` (`accelerate launch --fsdp_version 2`, "
            "`version` of `fsdp_config`)."
        )
    if parse(torch.__version__) < parse("2.7"):
        raise ValueError(f"Sharding the base LLM needs torch 2.7 or later; this is {torch.__version__}.")
    policy = str(settings.get("auto_wrap_policy", "TRANSFORMER_BASED_WRAP"))
    if policy.upper() != "TRANSFORMER_BASED_WRAP":
        raise ValueError(
            f"FSDP's `auto_wrap_policy={policy!r}` is not supported: each decoder layer is sharded, which is TRANSFORMER_BASED_WRAP."
        )
    name = str(settings.get("sharding_strategy", "full_shard")).lower()
    if name not in STRATEGIES:
        raise ValueError(f"FSDP's strategy {name!r} is not supported; use one of {', '.join(STRATEGIES)}.")
    strategy = STRATEGIES[name]
    if is_true(settings.get("cpu_ram_efficient_loading")) or is_true(os.environ.get("FSDP_CPU_RAM_EFFICIENT_LOADING")):
        logger.warning(
            "FSDP's `cpu_ram_efficient_loading` is turned off: every process loads the base LLM, of which processes of a node share what the files hold."
        )
    os.environ["FSDP_CPU_RAM_EFFICIENT_LOADING"] = (
        "false"  # transformers would leave the weights out in all processes but one
    )
    classes = settings.get("transformer_layer_cls_to_wrap") or ()
    return Sharding(
        reshard_after_forward=strategy.reshard_after_forward and not _is_false(settings.get("reshard_after_forward")),
        within_node=strategy.within_node,
        layer_classes=tuple(classes.split(",") if isinstance(classes, str) else classes),
    )


def check_processes(args: TrainingArguments) -> None:
    """
    Raises:
        ValueError: several processes were asked for, and this one is alone.
    """
    started = max(int(os.environ.get(name) or 1) for name in _PROCESS_COUNTS)
    if started > 1 and args.world_size == 1:
        raise ValueError(
            f"{started} processes were started, but no GPU is there, so each would train alone, into the same folder. Set `use_cpu=True` (a recipe: "
            "`training.use_cpu: true`) to train together on CPUs."
        )
    if args.world_size == 1 and _was_launched_for_several():
        raise ValueError(
            "`accelerate launch` was asked for several processes and started one: with `--cpu` (`use_cpu: true` in its config file) it leaves that to MPI. Start "
            "with `torchrun --nproc_per_node ...` and `use_cpu=True`. If one process is meant, unset MASTER_ADDR."
        )


def check_shards(args: TrainingArguments, sharding: Sharding | None) -> None:
    """
    Args:
        args: whose processes are connected already.
        sharding: what was asked for.

    Raises:
        ValueError: there is one process, and so nothing to shard over.
    """
    if sharding is not None and args.world_size == 1:
        raise ValueError(
            "FSDP was asked for, but there is one process: start several (`torchrun --nproc_per_node ...`, `accelerate launch --num_processes ...`), or train "
            "without it."
        )


@contextmanager
def hidden_from_accelerate() -> Iterator[None]:
    """Let accelerate not know that FSDP or DeepSpeed was asked for: they are used in a way of their own here."""
    variables = ("ACCELERATE_USE_DEEPSPEED", "ACCELERATE_USE_FSDP")
    values = {name: os.environ.pop(name) for name in variables if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(values)


def _was_launched_for_several() -> bool:
    """Whether `accelerate launch` gave its only process an address to meet others at."""
    names = ("ACCELERATE_MIXED_PRECISION", "MASTER_ADDR")
    return all(name in os.environ for name in names) and not any(name in os.environ for name in _PROCESS_COUNTS)


def is_true(value: Any) -> bool:
    """Whether a setting, such as an environment variable, is on."""
    return str(value).lower() in ("1", "true", "yes", "on", "y", "t")


def _is_false(value: Any) -> bool:
    return str(value).lower() in ("0", "false", "no", "off", "n", "f")
