"""A student's base LLM on this machine: a copy that `make real-models` left goes before the Hub, so that a student answers offline."""

from __future__ import annotations

import json
import os
from pathlib import Path

from transformers.utils import logging

from ..modeling.configuration_aura import AuraConfig


logger = logging.get_logger(__name__)

MANIFEST = "real_model.json"


def copy_of_base_model(config: AuraConfig) -> str | None:
    """
    Folder of a local copy of a student's base LLM, `None` where there is none.

    Looked for in `AURA_CACHE` (default `~/.cache/transformers-aura`), where each folder's manifest says of which commit and file of
    which repo it is a copy. Loading compares its weights with the student's fingerprint all the same.
    """
    cache = Path(os.environ.get("AURA_CACHE") or Path.home() / ".cache" / "transformers-aura")
    wanted = {name: getattr(config, name) for name in ("base_model", "base_revision", "base_gguf_file")}
    for manifest in sorted((cache / "models").glob(f"*/{MANIFEST}")):
        try:
            copy_of = json.loads(manifest.read_text(encoding="utf-8"))["copy_of"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            logger.warning(
                f"{manifest} is damaged ({error}): this copy is not used. Make it again with `make real-models`."
            )
            continue
        if copy_of == wanted:
            return str(manifest.parent)
    return None
