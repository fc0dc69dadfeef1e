"""What the answers of a batch depend on, kept beside its output."""

from __future__ import annotations

import os
from typing import Any


def model_settings(model: str, revision: str | None) -> dict[str, Any]:
    """Which weights these are: a folder's by their hashes, a Hub repo's by its commit."""
    from transformers import AutoConfig

    from ...evaluation.systems.identity import model_identity
    from ...hub_access import explained

    if os.path.isdir(model):
        return model_identity(model)
    with explained(model, {"revision": revision}):
        config = AutoConfig.from_pretrained(model, revision=revision)
    return {"repo": model, "commit": config._commit_hash}
