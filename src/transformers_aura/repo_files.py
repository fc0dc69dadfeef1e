"""The files of a repo, on the Hub or in a folder: that they are what was published, that none is a pickle, and what is wrong with one that cannot be
read."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transformers.utils import (
    CONFIG_NAME,
    GENERATION_CONFIG_NAME,
    SAFE_WEIGHTS_INDEX_NAME,
    SAFE_WEIGHTS_NAME,
    cached_file,
)


TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "chat_template.json",
    "chat_template.jinja",
)
PROCESSOR_FILES = ("processor_config.json", "preprocessor_config.json", *TOKENIZER_FILES)
LANGUAGE_MODEL_FILES = (
    CONFIG_NAME,
    GENERATION_CONFIG_NAME,
    *TOKENIZER_FILES,
    SAFE_WEIGHTS_INDEX_NAME,
    SAFE_WEIGHTS_NAME,
)

_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
_MOST_OF_A_HEADER = 100_000_000  # bytes, as in safetensors itself


class DamagedFileError(ValueError):
    """A file of a repo is not what it should be. The message names it, and says what to do."""


def repo_file(
    name_or_path: str | os.PathLike, file_name: str, is_needed: bool = True, **hub_kwargs: Any
) -> str | None:
    """Path of a file of a repo, downloaded if need be.

    A file that the cache of the Hub holds is compared with the hash that it was published under.

    Args:
        name_or_path: Hub id or folder.
        file_name: of the file in it.
        is_needed: whether it is an error that there is no such file.
        hub_kwargs: for [`~transformers.utils.cached_file`].

    Returns:
        `None` where there is no such file, and none is needed.

    Raises:
        OSError: there is no such file or repo, or the Hub cannot be reached.
        DamagedFileError: its content is not what was published.
    """
    path = cached_file(name_or_path, file_name, _raise_exceptions_for_missing_entries=is_needed, **hub_kwargs)
    if path is None and is_needed:  # transformers does without a config.json
        raise FileNotFoundError(f"There is no {file_name} in {name_or_path}, so it is not what it should be.")
    if path is not None and not os.path.isdir(name_or_path):
        check_published(path)
    return path


def check_published(path: str | os.PathLike) -> None:
    """Raises [`DamagedFileError`] if a file in the cache of the Hub has another hash than the one that it lies under: SHA-256 where it is large, git's
    own for small ones. Files that lie under no hash pass.
    """
    blob = Path(path).resolve()
    expected = blob.name
    if not re.fullmatch(r"[0-9a-f]{64}|[0-9a-f]{40}", expected):
        return
    digest = hashlib.sha256() if len(expected) == 64 else hashlib.sha1(b"blob %d\0" % blob.stat().st_size)
    with blob.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    if digest.hexdigest() != expected:
        raise DamagedFileError(
            f"{path} is not the file that was published: its hash is {digest.hexdigest()[:12]}..., the Hub's is {expected[:12]}.... Its download was "
            f"cut off, or it was changed since. Delete {blob} and load again."
        )


def refuse_pickles(name_or_path: str | os.PathLike, variant: str | None = None, **hub_kwargs: Any) -> None:
    """Raises [`DamagedFileError`] unless the weights of a repo lie in safetensors files, all of them.

    Other formats (`pytorch_model.bin`) are pickles, which can run any code when they are read, and an index may name such files, too.
    """
    weights_name, index_name = SAFE_WEIGHTS_NAME, SAFE_WEIGHTS_INDEX_NAME
    if variant is not None:
        weights_name, index_name = f"model.{variant}.safetensors", f"model.safetensors.index.{variant}.json"
    found = cached_file(name_or_path, weights_name, _raise_exceptions_for_missing_entries=False, **hub_kwargs)
    if found is not None:
        return
    index_file = repo_file(name_or_path, index_name, is_needed=False, **hub_kwargs)
    convert = (
        "Load it where you trust it (`from_pretrained` of transformers with `use_safetensors=False`) and save it again (`save_pretrained`), which "
        "writes safetensors; then name that folder."
    )
    if index_file is None:
        pickles = sorted({path.name for pattern in _PICKLES for path in Path(name_or_path).glob(pattern)})
        has = (
            f"; it has {', '.join(pickles)}, a format (pickle) that can run any code when it is read"
            if pickles
            else ""
        )
        raise DamagedFileError(
            f"{name_or_path} holds no weights as safetensors ({weights_name}, or {index_name} and what it names){has}. {convert}"
        )
    if problem := damage_of(index_file):
        raise DamagedFileError(problem)
    for file_name in sorted(set(_weight_map(index_file).values())):
        if not file_name.endswith(".safetensors"):
            raise DamagedFileError(
                f"{index_file} names {file_name}, which is no safetensors file: such a file (a pickle) can run any code when it is read. {convert}"
            )
        if os.path.basename(file_name) != file_name:
            raise DamagedFileError(
                f"{index_file} names {file_name}, which lies outside of its folder. Download the repo again."
            )


def _weight_map(index_file: str | os.PathLike) -> Mapping[str, str]:
    weight_map = json.loads(Path(index_file).read_text(encoding="utf-8")).get("weight_map")
    if (
        not isinstance(weight_map, dict)
        or not weight_map
        or not all(isinstance(name, str) for name in weight_map.values())
    ):
        raise DamagedFileError(
            f"{index_file} has no `weight_map` from weights to files. Delete it and download or copy it again."
        )
    return weight_map


@contextmanager
def naming_damaged_files(
    name_or_path: str | os.PathLike | None,
    file_names: Iterable[str],
    is_all_that_is_read: bool = False,
    **hub_kwargs: Any,
) -> Iterator[None]:
    """Where reading a repo fails inside, the error names the first of these files that is damaged, if one is.

    Args:
        name_or_path: Hub id or folder.
        file_names: in it.
        is_all_that_is_read: whether nothing else can be the cause; then an error that names no file names these.
        hub_kwargs: for [`~transformers.utils.cached_file`].

    Raises:
        DamagedFileError: a file is damaged, or what it says is refused.
    """
    try:
        yield
    except DamagedFileError:
        raise
    except Exception as error:
        found = list(_files_here(name_or_path, file_names, hub_kwargs))
        for path in found:
            if problem := damage_of(path):
                raise DamagedFileError(problem) from error
        if (
            not is_all_that_is_read
            or not found
            or isinstance(error, OSError)
            or any(path.name in str(error) for path in found)
        ):
            raise
        where = found[0] if len(found) == 1 else f"{found[0].parent} ({', '.join(path.name for path in found)})"
        raise DamagedFileError(
            f"What {where} says cannot be used: {described_error(error)} (Was it cut off or changed?)"
        ) from error


def check_small_files(name_or_path: str | os.PathLike | None, file_names: Iterable[str], **hub_kwargs: Any) -> None:
    """Raises [`DamagedFileError`] if one of these files is there and damaged, or not what was published: transformers takes no notice of some that it
    cannot read.
    """
    for path in _files_here(name_or_path, file_names, hub_kwargs):
        if not os.path.isdir(str(name_or_path)):
            check_published(path)
        if problem := damage_of(path):
            raise DamagedFileError(problem)


def _files_here(
    name_or_path: str | os.PathLike | None, file_names: Iterable[str], hub_kwargs: Mapping[str, Any]
) -> Iterator[Path]:
    """Those of the files that are on this machine; the files that an index names after it."""
    known = {
        name: hub_kwargs[name] for name in ("cache_dir", "revision", "subfolder") if hub_kwargs.get(name) is not None
    }
    names = list(file_names) if name_or_path is not None else []
    while names:
        name = names.pop(0)
        try:
            found = cached_file(
                name_or_path, name, local_files_only=True, _raise_exceptions_for_missing_entries=False,
                _raise_exceptions_for_connection_errors=False, **known,
            )  # fmt: skip
        except (OSError, ValueError):
            continue
        if found is None:
            continue
        yield Path(found)
        if name == SAFE_WEIGHTS_INDEX_NAME and damage_of(found) is None:
            names = sorted(set(_weight_map(found).values())) + names


def described_error(error: Exception) -> str:
    """An error for a message: by its text, and by its type where the text is no sentence."""
    text = str(error)[:500]
    return text if isinstance(error, ValueError) else f"{type(error).__name__}: {text}"


_AGAIN = "Delete it and download or copy it again."


def damage_of(path: str | os.PathLike) -> str | None:
    """What is wrong with a JSON, Jinja, safetensors or GGUF file, and what to do, as sentences; `None` if nothing is."""
    path = Path(path)
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(512)
    if not head:
        return f"{path} is empty. {_AGAIN}"
    if head.startswith(b"version https://git-lfs.github.com"):
        return f"{path} is a pointer of Git LFS in the place of the file. Run `git lfs pull` in its folder, or download the repo with `hf download`."
    if head.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        return f"{path} is an HTML or XML page (of a login or an error, perhaps) in the place of the file. {_AGAIN}"
    if path.suffix == ".jinja":
        try:
            path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            return f"{path} is no text in UTF-8 ({error}). {_AGAIN}"
    if path.suffix == ".json":
        return _damage_of_json(path)
    if path.suffix == ".safetensors":
        return _damage_of_safetensors(path, size)
    if path.suffix == ".gguf" and not head.startswith(b"GGUF"):
        return f"{path} is no GGUF file: it does not begin with GGUF. {_AGAIN}"
    return None


def _damage_of_json(path: Path) -> str | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # a UnicodeDecodeError is one
        return f"{path} is no JSON ({error}). {_AGAIN}"
    if not isinstance(content, dict):
        return f"{path} holds no JSON object, but a {type(content).__name__}. {_AGAIN}"
    if path.name == "tokenizer.json" and not {"model", "added_tokens"} <= content.keys():
        return f"{path} holds no tokenizer. {_AGAIN}"
    return None


def _damage_of_safetensors(path: Path, size: int) -> str | None:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= _MOST_OF_A_HEADER:
            return f"{path} is no safetensors file: it has no header. {_AGAIN}"
        header = file.read(length)
    if len(header) < length:
        return f"{path} is cut off: it ends in its header. {_AGAIN}"
    try:
        tensors = {name: entry for name, entry in json.loads(header).items() if name != "__metadata__"}
        end = 8 + length + max((entry["data_offsets"][1] for entry in tensors.values()), default=0)
    except (ValueError, AttributeError, KeyError, TypeError, IndexError) as error:
        return f"{path} has a damaged header ({error}). {_AGAIN}"
    if end != size:
        return f"{path} has {size} bytes, its header speaks of {end}: it is cut off or mixed up. {_AGAIN}"
    return None


__all__ = [
    "DamagedFileError",
    "check_published",
    "check_small_files",
    "damage_of",
    "described_error",
    "naming_damaged_files",
    "refuse_pickles",
    "repo_file",
]
