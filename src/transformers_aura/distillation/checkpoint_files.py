"""The files of a training checkpoint (`checkpoint-N/`): whether they are all there and as they were written, and from which one a run goes on."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

from safetensors import SafetensorError, safe_open
from transformers.trainer import OPTIMIZER_NAME, SCHEDULER_NAME, TRAINER_STATE_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR
from transformers.utils import SAFE_WEIGHTS_NAME, logging

from ..whole_files import write_whole
from .streams.resume import is_stream_state


logger = logging.get_logger(__name__)

CHECKSUMS_FILE_NAME = "SHA256SUMS"
"""Written last, in the format of `sha256sum`: checksums of all that a resume reads."""

_NEEDED = (SAFE_WEIGHTS_NAME, OPTIMIZER_NAME, SCHEDULER_NAME, TRAINER_STATE_NAME)
_ARCHIVES = (".pt", ".pth")
_ADVICE = "Use an earlier `checkpoint-N` folder; a run goes on from the last undamaged one with `resume_from_checkpoint=True` (`--resume`)."


class CheckpointError(ValueError):
    """A checkpoint is incomplete or damaged, or there is none. The message names the file, and says what to do."""


def write_checksums(folder: Path) -> None:
    """Seal a checkpoint: from now on a file of it that is lost or changed is found out."""
    lines = [f"{_sha256(folder / name)}  {name}\n" for name in _read_by_a_resume(folder)]
    write_whole(folder / CHECKSUMS_FILE_NAME, "".join(lines))


def missing_files(folder: Path) -> list[str]:
    """What a checkpoint lacks to go on from it."""
    return [name for name in _NEEDED if not (folder / name).is_file()]


def damage(folder: Path) -> str | None:
    """What of a checkpoint is not as it was written; `None` = nothing, as far as its checksums tell, or without them its formats."""
    present = _read_by_a_resume(folder)
    if empty := [name for name in present if not (folder / name).stat().st_size]:
        return f"{empty[0]} is empty"
    if not (folder / CHECKSUMS_FILE_NAME).exists():
        logger.warning(
            f"{folder} has no {CHECKSUMS_FILE_NAME}: an earlier version wrote it, or was interrupted. Not every damage to its files can be told."
        )
        return next(filter(None, (_unreadable(folder / name) for name in present)), None)
    try:
        lines = (folder / CHECKSUMS_FILE_NAME).read_text(encoding="utf-8").splitlines()
        expected = {name: digest for digest, name in (line.split("  ", 1) for line in lines)}
    except ValueError:
        return f"{CHECKSUMS_FILE_NAME} is not readable"
    for name in sorted({*expected, *present}):
        if name not in expected:
            return f"{CHECKSUMS_FILE_NAME} does not list {name}"
        if name not in present:
            return f"{name} is missing"
        if _sha256(folder / name) != expected[name]:
            return f"{name} ({(folder / name).stat().st_size} bytes) is not what was written, its SHA-256 differs"
    return None


def check_contents(folder: Path) -> None:
    """
    Raises:
        CheckpointError: a file of this checkpoint is not as it was written.
    """
    if problem := damage(folder):
        raise CheckpointError(f"{folder} is damaged: {problem}. {_ADVICE}")


def check_checkpoint(folder: Path) -> None:
    """
    Raises:
        CheckpointError: a run cannot go on from this folder.
    """
    if missing := missing_files(folder):
        raise CheckpointError(
            f"{folder} lacks {', '.join(missing)}: it is not a training checkpoint, or writing it was interrupted. {_ADVICE}"
        )
    check_contents(folder)


def is_checkpoint(folder: str | Path) -> bool:
    """Whether a folder is named as checkpoints are."""
    name = Path(folder).name
    return name.startswith(f"{PREFIX_CHECKPOINT_DIR}-") and name.removeprefix(f"{PREFIX_CHECKPOINT_DIR}-").isdigit()


def checkpoint_step(folder: Path) -> int:
    """The step after which a checkpoint was written."""
    return int(folder.name.rpartition("-")[2])


def complete_checkpoints(output_dir: str | Path) -> Iterator[Path]:
    """The checkpoints of a run whose writing was not interrupted, newest first; what their files hold is not looked at."""
    folders = filter(is_checkpoint, Path(output_dir).glob(f"{PREFIX_CHECKPOINT_DIR}-*"))
    for folder in sorted(folders, key=checkpoint_step, reverse=True):
        if missing_files(folder):
            logger.warning(f"{folder} is incomplete (its writing was interrupted), so it is passed over.")
        else:
            yield folder


def last_complete_checkpoint(output_dir: str | Path) -> str | None:
    """The newest checkpoint of a run to go on from; one that is incomplete or damaged is passed over, with a warning."""
    for folder in complete_checkpoints(output_dir):
        if (problem := damage(folder)) is None:
            return str(folder)
        logger.warning(f"{folder} is damaged: {problem}. It is passed over.")
    return None


def checkpoint_to_resume(
    output_dir: str | Path, resume_from_checkpoint: str | os.PathLike | bool | None
) -> str | None:
    """The checkpoint that an argument `resume_from_checkpoint` means: `True` = the last one in `output_dir` that is complete and undamaged.

    Raises:
        CheckpointError: there is none, or the one that is named is incomplete or damaged.
    """
    if not resume_from_checkpoint:
        return None
    if resume_from_checkpoint is not True:
        check_checkpoint(Path(resume_from_checkpoint))
        return str(resume_from_checkpoint)
    last = last_complete_checkpoint(output_dir)
    if last is None:
        raise CheckpointError(
            f"There is no complete checkpoint in {output_dir} to go on from. Begin anew without "
            "`resume_from_checkpoint` (`--resume`), in another folder if you want to look into this one."
        )
    return last


def drop_old_checkpoints(output_dir: str | Path, limit: int | None, newest: Path, best: str | None) -> None:
    """Remove checkpoints until no more than `limit` are left: first what the run will not go on from, then the oldest.

    Args:
        output_dir: of the run.
        limit: `None` or 0 = keep all.
        newest: the one written last, which is kept. One of a later step is left from before the run was resumed.
        best: the one to load at the end, which is kept.
    """
    kept = {newest.resolve(), *([Path(best).resolve()] if best else [])}
    folders = filter(is_checkpoint, Path(output_dir).glob(f"{PREFIX_CHECKPOINT_DIR}-*"))
    others = [folder for folder in folders if folder.resolve() not in kept]
    useful = {
        folder: checkpoint_step(folder) < checkpoint_step(newest) and not missing_files(folder) for folder in others
    }
    others.sort(key=lambda folder: (useful[folder], checkpoint_step(folder)))
    surplus = len(others) + len(kept) - limit if limit else 0
    for folder in others[: max(surplus, 0)]:
        shutil.rmtree(folder, ignore_errors=True)


def _read_by_a_resume(folder: Path) -> list[str]:
    names = (path.name for path in folder.iterdir() if path.is_file())
    suffixes = (*_ARCHIVES, ".safetensors")
    return sorted(
        name for name in names if name == TRAINER_STATE_NAME or is_stream_state(name) or name.endswith(suffixes)
    )


def _unreadable(path: Path) -> str | None:
    """Why a file cannot be read: what its own format tells."""
    try:
        if path.name == TRAINER_STATE_NAME:
            if "global_step" not in json.loads(path.read_text(encoding="utf-8")):
                return f"{path.name} holds no `global_step`"
        elif path.suffix in _ARCHIVES:  # `torch.save` writes zip archives, which carry checksums of their own
            with zipfile.ZipFile(path) as archive:
                if name := archive.testzip():
                    return f"{path.name} is not what was written, the checksum of its part {name} differs"
        else:
            with safe_open(path, framework="pt"):
                pass
    except (OSError, ValueError, TypeError, zipfile.BadZipFile, SafetensorError) as error:
        return f"{path.name} ({path.stat().st_size} bytes) is truncated or not of its format ({error})"
    return None


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
