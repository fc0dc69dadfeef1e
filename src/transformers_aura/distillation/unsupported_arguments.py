"""Arguments of `transformers.TrainingArguments` that would have no effect, or not theirs, in [`AuraTrainer`]: setting one is an error."""

from __future__ import annotations

import dataclasses
from typing import Any


_TEXTS = "the predictions of an evaluation are texts, which `compute_metrics` gets all at once, with what was asked"
_PROCESSES = "AuraTrainer runs on one process, or on several with DDP (`torchrun`), FSDP2 (`fsdp=True`) or DeepSpeed (`deepspeed`), see docs/distributed.md"

UNSUPPORTED_ARGUMENTS: dict[str, str] = {
    "average_tokens_across_devices": "each term of the loss is averaged over all processes",
    "batch_eval_metrics": _TEXTS,
    "bf16_full_eval": "evaluation runs as training does; `bf16` acts on both",
    "debug": "a loss or weight that is not finite ends the training anyway, with an error that names it",
    "eval_accumulation_steps": _TEXTS,
    "eval_do_concat_batches": _TEXTS,
    "eval_use_gather_object": _TEXTS,
    "fp16_full_eval": "evaluation runs as training does; `fp16` acts on both",
    "include_for_metrics": _TEXTS,
    "label_names": "the terms of the loss know the columns of a batch",
    "length_column_name": "clips are grouped by their column `seconds`",
    "liger_kernel_config": "there are no Liger kernels for an AuRA student",
    "logging_nan_inf_filter": "a loss that is not finite is never left out of the log: it ends the training",
    "neftune_noise_alpha": "its noise would reach what the base LLM teaches, too; `random_gain_db` and an augmentation alter what the student gets",
    "optim_target_modules": "optimizers that choose modules build parameter groups of their own",
    "parallelism_config": _PROCESSES,
    "remove_unused_columns": "it would drop the columns that `AuraDataCollator` reads",
    "use_liger_kernel": "there are no Liger kernels for an AuRA student",
}
"""Why, by name."""


def check_supported(args: Any) -> None:
    """
    Args:
        args: a dataclass of training arguments; each argument named above must have its default.

    Raises:
        ValueError: naming the argument.
    """
    for field in dataclasses.fields(args):
        if field.name not in UNSUPPORTED_ARGUMENTS:
            continue
        default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        value = getattr(args, field.name)
        if value != default and (value or default):
            raise ValueError(
                f"`{field.name}={value!r}` is not supported: {UNSUPPORTED_ARGUMENTS[field.name]}. Leave it out."
            )
