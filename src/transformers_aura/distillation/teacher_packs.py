"""Teacher states of many clips in one file: what `aura cache-teacher` writes, so that millions of clips are no millions of files."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from transformers.utils import logging

from ..whole_files import write_whole


logger = logging.get_logger(__name__)

PACK_BYTES = 256 * 10**6
"""A pack is written when it holds so many bytes of states."""

KEY_BYTES = 20
CHECKSUM_BYTES = 16

_OPEN_PACKS = 64
_INDEX = np.dtype([("start", np.uint64), ("pack", np.int32), ("row", np.int32)])
"""Of a clip: how its key begins, the number of its pack, its place in it."""


class TeacherStatePacks:
    """The packs in a folder, `pack-*.safetensors`, each with the tensors

    - `keys` (`(clips, 20)`, uint8): what each clip is found by;
    - `ends` (`(clips,)`, int64): where its states end;
    - `checksums` (`(clips, 16)`, uint8): of key, shape and states;
    - `states` (`(audio tokens of all clips, layers, width)`, float16): mapped into memory; one clip is read at a time.

    The begins of all keys, and where they stand, are kept in memory: 16 bytes a clip.

    Args:
        folder: of the cache.
    """

    def __init__(self, folder: Path) -> None:
        self._paths: list[Path] = []
        parts = [np.zeros(0, _INDEX)]
        for path in sorted(folder.glob("pack-*.safetensors")):
            try:
                with safe_open(path, framework="pt") as file:
                    keys = file.get_tensor("keys").numpy()
            except (OSError, SafetensorError) as error:
                logger.warning(
                    f"The cached teacher states {path} cannot be read ({error}); they are computed again. Delete the file."
                )
                continue
            part = np.zeros(len(keys), _INDEX)
            part["start"] = np.ascontiguousarray(keys[:, :8]).view(np.uint64)[:, 0]
            part["pack"], part["row"] = len(self._paths), np.arange(len(keys))
            parts.append(part)
            self._paths.append(path)
        index = np.concatenate(parts)
        self._index = index[np.argsort(index["start"], kind="stable")]
        self._open = lru_cache(_OPEN_PACKS)(lambda path: safe_open(path, framework="pt"))

    def __len__(self) -> int:
        return len(self._index)

    def get(self, key: bytes) -> torch.Tensor | None:
        """States of shape `(layers, audio_tokens, width)`, float16, or `None` if they are not there, or damaged."""
        start = np.frombuffer(key[:8], np.uint64)[0]
        first = np.searchsorted(self._index["start"], start)
        last = np.searchsorted(self._index["start"], start, "right")
        for entry in self._index[first:last]:
            path, row = self._paths[entry["pack"]], int(entry["row"])
            try:
                file = self._open(path)
                found, checksum = (
                    file.get_slice(name)[row : row + 1].numpy().tobytes() for name in ("keys", "checksums")
                )
                begin, end = [0, *file.get_slice("ends")[max(row - 1, 0) : row + 1].tolist()][-2:]
                states = file.get_slice("states")[begin:end]
            except (OSError, SafetensorError, ValueError, IndexError, RuntimeError):
                found, checksum, states = key, b"", torch.zeros(0)
            if found != key:
                continue
            if checksum == checksum_of(key, states) and bool(states.isfinite().all()):
                return states.transpose(0, 1)
            logger.warning(f"The cached teacher states of clip {row} in {path} are damaged; they are computed again.")
        return None


class PackWriter:
    """Writes packs into a folder.

    Args:
        folder: of the cache.
        pack_bytes: of states in a pack.

    Attributes:
        num_clips, num_bytes: that were given so far.
    """

    def __init__(self, folder: Path, pack_bytes: int = PACK_BYTES) -> None:
        self._folder = folder
        self._pack_bytes = pack_bytes
        self._clips: dict[bytes, torch.Tensor] = {}
        self.num_clips = 0
        self.num_bytes = 0
        self._bytes_here = 0

    def get(self, key: bytes) -> torch.Tensor | None:
        """States of shape `(layers, audio_tokens, width)` that are not on disk yet."""
        return self._clips[key].transpose(0, 1) if key in self._clips else None

    def add(self, key: bytes, states: torch.Tensor) -> None:
        """Keep the states `(layers, audio_tokens, width)` of a clip, as float16; on disk once a pack is full.

        Raises:
            OSError: the pack cannot be written.
        """
        states = states.half().transpose(0, 1).contiguous()
        self._clips[key] = states
        self.num_clips += 1
        self.num_bytes += states.nbytes
        self._bytes_here += states.nbytes
        if self._bytes_here >= self._pack_bytes:
            self.flush()

    def flush(self) -> None:
        """Write what is not on disk yet.

        Raises:
            OSError: it cannot be written.
        """
        if not self._clips:
            return
        keys, states = list(self._clips), list(self._clips.values())
        content: dict[str, Any] = {
            "keys": _bytes_of(keys),
            "ends": torch.tensor([len(each) for each in states]).cumsum(0),
            "checksums": _bytes_of([checksum_of(key, each) for key, each in self._clips.items()]),
            "states": torch.cat(states),
        }
        name = hashlib.blake2b(b"".join(keys), digest_size=8).hexdigest()
        write_whole(self._folder / f"pack-{name}.safetensors", save(content))
        self._clips, self._bytes_here = {}, 0


def checksum_of(key: bytes, states: torch.Tensor) -> bytes:
    """Of a clip's states as a pack has them, `(audio_tokens, layers, width)`."""
    digest = hashlib.blake2b(key + str(list(states.shape)).encode(), digest_size=CHECKSUM_BYTES)
    digest.update(states.contiguous().view(torch.uint8).numpy())
    return digest.digest()


def _bytes_of(values: list[bytes]) -> torch.Tensor:
    return torch.from_numpy(np.frombuffer(b"".join(values), np.uint8).reshape(len(values), -1).copy())
