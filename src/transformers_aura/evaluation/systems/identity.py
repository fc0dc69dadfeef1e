"""Which weights and settings a system ran with."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any


# Beside weights, what the generations of a model folder depend on.
_SETTINGS = (
    "config.json",
    "processor_config.json",
    "preprocessor_config.json",
    "tokenizer.json",
    "chat_template.jinja",
    "generation_config.json",
)


@lru_cache
def model_identity(model: str, revision: str | None = None) -> dict[str, Any]:
    """A folder's hashes, or a Hub repo's commit.

    Raises:
        FileNotFoundError: a folder without weights.
        huggingface_hub.errors.HfHubHTTPError: the Hub does not know the repo.
    """
    folder = Path(model)
    if folder.is_dir():
        weights = sorted(folder.glob("*.safetensors"))
        if not weights:
            raise FileNotFoundError(f"{folder} holds no .safetensors file: is it the folder of a saved model?")
        settings = [folder / name for name in _SETTINGS if (folder / name).is_file()]
        return {
            "weights": _hash_of([file_hash(path) for path in weights]),
            "settings": _hash_of([path.name + file_hash(path) for path in settings]),
        }
    from huggingface_hub import HfApi

    return {"repo": model, "commit": HfApi().model_info(model, revision=revision).sha}


def software_identity(dtype: str, device: str) -> dict[str, Any]:
    """What runs the weights."""
    return {"dtype": dtype, "device": device, **{name: version(name) for name in ("torch", "transformers")}}


def identity_hash(identity: dict[str, Any]) -> str:
    """The first 12 hexadecimal digits of an identity's sha256."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12]


def file_hash(path: Path) -> str:
    """Hexadecimal sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _digest(file)


def _digest(file: Any) -> str:  # Python 3.10
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def _hash_of(parts: list[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
