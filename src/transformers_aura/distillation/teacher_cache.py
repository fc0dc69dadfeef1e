"""Teacher states on disk: a clip is encoded once, however often it is trained on."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from transformers.utils import logging

from .teacher_packs import KEY_BYTES, PackWriter, TeacherStatePacks


logger = logging.get_logger(__name__)

CACHE_VERSION = 3


class TeacherStateCache:
    """Pooled teacher states of single clips as float16: in packs of many clips ([`TeacherStatePacks`]) where `aura cache-teacher` wrote them, else in one small safetensors
    file a clip, which a training writes as it goes; mapped into memory when they are read.

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
        self._packs = TeacherStatePacks(self.folder)
        self._writer: PackWriter | None = None

    @contextmanager
    def writing_packs(self) -> Iterator[PackWriter]:
        """What is put into the cache goes into packs meanwhile.

        Raises:
            OSError: a pack cannot be written.
        """
        self._writer = PackWriter(self.folder)
        try:
            yield self._writer
        finally:
            try:
                self._writer.flush()
            finally:
                self._writer = None
                self._packs = TeacherStatePacks(self.folder)

    def key(self, waveform: np.ndarray) -> bytes:
        """What the states of a clip are found by."""
        digest = hashlib.blake2b(self._identity, digest_size=KEY_BYTES)
        digest.update(np.asarray(waveform, dtype=np.float32).tobytes())
        return digest.digest()

    def path(self, waveform: np.ndarray) -> Path:
        """Where the states of a clip are, or would be, in a file of their own."""
        key = self.key(waveform).hex()
        return self.folder / key[:2] / f"{key}.safetensors"

    def get(self, waveform: np.ndarray) -> torch.Tensor | None:
        """States of shape `(layers, audio_tokens, width)`, float16, or `None` if they are not there (or are damaged)."""
        key = self.key(waveform)
        if self._writer is not None and (states := self._writer.get(key)) is not None:
            return states
        if len(self._packs) and (states := self._packs.get(key)) is not None:
            return states
        path = self.path(waveform)
        try:
            with safe_open(path, framework="pt") as file:
                checksum = (file.metadata() or {}).get("checksum")
                states = file.get_tensor("states")
        except FileNotFoundError:
            return None
        except OSError as error:
            logger.warning(f"The cached teacher states {path} cannot be read ({error}); they are computed again.")
            return None
        except SafetensorError:
            checksum = states = None
        if states is not None and checksum == _checksum(path.stem, states) and bool(states.isfinite().all()):
            return states
        logger.warning(f"The cached teacher states {path} are damaged; they are computed again.")
        with suppress(OSError):  # a folder that can only be read
            path.unlink()
        return None

    def put(self, waveform: np.ndarray, states: torch.Tensor) -> None:
        """Keep the states `(layers, audio_tokens, width)` of a clip, as float16."""
        if self._writer is not None:
            self._writer.add(self.key(waveform), states)
            return
        if not self._writable:
            return
        states = states.half().contiguous()
        path = self.path(waveform)
        temporary: str | None = None
        try:
            path.parent.mkdir(exist_ok=True)
            descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-")
            os.close(descriptor)
            save_file({"states": states}, temporary, metadata={"checksum": _checksum(path.stem, states)})
            os.replace(temporary, path)
        except (OSError, SafetensorError) as error:
            if temporary is not None:
                Path(temporary).unlink(missing_ok=True)
            self._writable = False
            logger.warning(
                f"Teacher states can no longer be cached in {self.folder} ({error}). Training goes on without writing "
                "there; free some space or choose another `teacher_cache_dir`."
            )


def _checksum(key: str, states: torch.Tensor) -> str:
    digest = hashlib.blake2b(f"{key} {states.dtype} {list(states.shape)}\n".encode(), digest_size=16)
    digest.update(states.view(torch.uint8).numpy())
    return digest.hexdigest()


def fits_float16(states: torch.Tensor) -> bool:
    """Whether no value would become infinite in float16."""
    return bool(states.abs().amax() <= torch.finfo(torch.float16).max) if states.numel() else True
