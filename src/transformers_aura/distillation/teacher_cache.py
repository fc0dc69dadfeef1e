"""Teacher states on disk: a clip is encoded once, however often it is trained on."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from transformers.utils import logging


logger = logging.get_logger(__name__)

CACHE_VERSION = 2
_MAGIC = b"aura-teacher-states\n"


class TeacherStateCache:
    """Pooled teacher states of single clips as float16, one small file a clip.

    An entry is found by a hash of the waveform's bytes and of everything that decides the states (teacher fingerprint,
    layers, token rate, time alignment, version of this format), so that a changed setting can never return old states. It
    is written under a temporary name and renamed, so several processes may share a folder, and it carries a checksum of its key, shape and
    states: an entry that is damaged, under another's name or not finite is reported, removed and computed again. When the disk is full the cache stops growing, with one warning,
    and training goes on.

    Space: at 12.5 audio tokens a second `25 * width` bytes a second for each layer (4 layers of Whisper tiny: 38 kB).

    Args:
        folder: created if needed.
        **identity: JSON-able values that decide the states besides the waveform.
    """

    def __init__(self, folder: str | Path, **identity: Any) -> None:
        self.folder = Path(folder)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(
                f"`teacher_cache_dir={str(folder)!r}` cannot be used as a folder ({error}). Give a folder that can be "
                "written, or leave it out to train without a cache."
            ) from error
        self._identity = json.dumps({"version": CACHE_VERSION, **identity}, sort_keys=True).encode()
        self._writable = True

    def path(self, waveform: np.ndarray) -> Path:
        """Where the states of a clip are, or would be."""
        digest = hashlib.blake2b(self._identity, digest_size=20)
        digest.update(np.asarray(waveform, dtype=np.float32).tobytes())
        key = digest.hexdigest()
        return self.folder / key[:2] / f"{key}.states"

    def get(self, waveform: np.ndarray) -> np.ndarray | None:
        """States of shape `(layers, audio_tokens, width)`, float16, or `None` if they are not there (or are damaged)."""
        path = self.path(waveform)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            logger.warning(f"The cached teacher states {path} cannot be read ({error}); they are computed again.")
            return None
        try:
            magic, header, data = content[: len(_MAGIC)], *content[len(_MAGIC) :].split(b"\n", 1)
            fields = json.loads(header)
            if magic != _MAGIC or _checksum(path.stem, fields["shape"], data) != fields["checksum"]:
                raise ValueError("checksum")
            states = np.frombuffer(data, dtype=np.float16).reshape(fields["shape"])
            if not np.isfinite(states).all():
                raise ValueError("not finite")
            return states
        except (ValueError, KeyError, TypeError):
            logger.warning(f"The cached teacher states {path} are damaged; they are computed again.")
            with suppress(OSError):  # a folder that can only be read
                path.unlink()
            return None

    def put(self, waveform: np.ndarray, states: np.ndarray) -> None:
        """Keep the states `(layers, audio_tokens, width)` of a clip, as float16."""
        if not self._writable:
            return
        states = np.ascontiguousarray(states, dtype=np.float16)
        data = states.tobytes()
        path = self.path(waveform)
        header = json.dumps({"shape": states.shape, "checksum": _checksum(path.stem, states.shape, data)}).encode()
        temporary: str | None = None
        try:
            path.parent.mkdir(exist_ok=True)
            descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-")
            with os.fdopen(descriptor, "wb") as file:
                file.write(b"".join([_MAGIC, header, b"\n", data]))
            os.replace(temporary, path)
        except OSError as error:
            if temporary is not None:
                Path(temporary).unlink(missing_ok=True)
            self._writable = False
            logger.warning(
                f"Teacher states can no longer be cached in {self.folder} ({error}). Training goes on without writing "
                "there; free some space or choose another `teacher_cache_dir`."
            )


def _checksum(key: str, shape: Sequence[int], data: bytes) -> str:
    digest = hashlib.blake2b(f"{key} {list(shape)}\n".encode(), digest_size=16)
    digest.update(data)
    return digest.hexdigest()


def fits_float16(states: Sequence[np.ndarray] | np.ndarray) -> bool:
    """Whether no value would become infinite in float16."""
    return bool(np.abs(states).max(initial=0.0) <= np.finfo(np.float16).max)
