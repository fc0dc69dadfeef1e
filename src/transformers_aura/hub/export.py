"""A student on a disk: written completely or not at all, and as one plain checkpoint for engines that know no adapters."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..modeling.configuration_aura import AuraConfig
from ..modeling.modeling_aura import AuraForSpeechQA
from ..processing.processing_aura import AuraProcessor
from ..whole_files import disk_errors_named
from .errors import HubError
from .model_card import TrainingSummary, save_model_card
from .repo_folder import human_bytes


@contextmanager
def new_folder(out: str | os.PathLike, num_bytes: int = 0) -> Iterator[Path]:
    """
    A folder that appears at `out` only once everything in it has been written.

    The body writes into a temporary folder beside `out`, which is renamed at the end, or removed when the body fails.

    Args:
        out (`str` or `PathLike`): the folder to make; it must not exist, or be empty.
        num_bytes (`int`): how much will be written, to refuse early when the disk has less.

    Yields:
        `Path`: the temporary folder.

    Raises:
        HubError: `out` exists with something in it, cannot be written, or the disk is full.
    """
    out = Path(out)
    _check_is_new(out)
    temporary = None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(out.parent).free
        if free < num_bytes:
            raise HubError(
                f"{out.parent} has {human_bytes(free)} left, but {human_bytes(num_bytes)} are needed. Free some space, or choose another disk."
            )
        temporary = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
        with disk_errors_named(out):
            yield temporary
        temporary.chmod(0o755)
        if out.exists():
            out.rmdir()
        temporary.rename(out)
    except OSError as error:
        raise HubError(_disk_message(out, error)) from error
    finally:
        if temporary is not None and temporary.exists():
            shutil.rmtree(temporary, ignore_errors=True)


def _check_is_new(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise HubError(f"{out} exists already and is not an empty folder. Choose another place, or remove it first.")


def _disk_message(out: Path, error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return f"The disk filled up while writing {out}; nothing was left behind. Free some space, or choose another disk."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"You may not write to {out.parent} ({error.strerror}). Choose another place."
    return f"Writing {out} failed: {error}"


def merge_to_folder(
    model: str | os.PathLike,
    out: str | os.PathLike,
    *,
    revision: str | None = None,
    dtype: str = "auto",
    **kwargs: Any,
) -> Path:
    """
    Merge a student's LoRA into its base model and save the plain full checkpoint, with processor and model card.

    Args:
        model (`str` or `PathLike`): Hub id or folder of a compact student, or the name of a packaged one.
        out (`str` or `PathLike`): the folder to make.
        revision (`str`, *optional*): of the student, by Hub id.
        dtype (`str`): what to save in: `"auto"` (what the student's config names), `"float32"`, `"bfloat16"`, ...
        kwargs: further arguments of `AuraForSpeechQA.from_pretrained` (`base_model_name_or_path`, `token`, ...).

    Returns:
        `Path`: `out`.

    Example:

    ```python
    >>> merge_to_folder("my-org/my-student", "outputs/merged", dtype="bfloat16")
    ```

    Raises:
        HubError: `out` is in use, or the disk is full.
        ValueError: the student is merged already, or cannot be merged (a quantised base, LoRA on audio positions only).
    """
    _check_is_new(Path(out))  # before anything is loaded
    hub_kwargs = {name: kwargs[name] for name in ("cache_dir", "local_files_only", "token") if name in kwargs}
    model = AuraForSpeechQA.locate_student(model)
    config = AuraConfig.from_pretrained(model, revision=revision, **hub_kwargs)
    if dtype == "auto" and config.dtype is not None:  # not what this processor would be faster with
        dtype = config.dtype
    student = AuraForSpeechQA.from_pretrained(model, config=config, revision=revision, dtype=dtype, **kwargs)
    if not student.config.is_compact:
        raise ValueError(f"{model} is a merged checkpoint already: it names no base model.")
    processor = AuraProcessor.from_pretrained(model, revision=revision, **hub_kwargs)
    base_model = student.config.base_model
    merged = student.merge()
    num_bytes = sum(parameter.numel() * parameter.element_size() for parameter in merged.parameters())
    with new_folder(out, num_bytes) as folder:
        merged.save_pretrained(folder)
        processor.save_pretrained(folder)
        summary = TrainingSummary.load(model)
        if summary != TrainingSummary():
            summary.save(folder)
        save_model_card(folder, summary, base_model=base_model, repo_id=Path(out).name)
    return Path(out)
