"""Libraries that only some tasks need: asked for by the name of the extra that installs them."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any


class MissingExtraError(ImportError):
    """A library that is not installed. The message says what needs it and how to install it."""


def import_extra(module: str, extra: str, what: str) -> Any:
    """
    A module of a library that an extra of this package installs.

    Args:
        module: `"jiwer"`, `"pyarrow.parquet"`.
        extra: the extra's name.
        what: what cannot be done without it, for the error.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        found = importlib.import_module(module)
        spec = found.__spec__ if isinstance(found, ModuleType) else None
        if spec is not None and spec.origin is None:  # a folder without modules, as an uninstalled library leaves it
            raise ImportError(f"there is only an empty folder of {module}")
        return found
    except ImportError as error:
        raise MissingExtraError(
            f"{what} needs {module.partition('.')[0]}, which is not installed ({error}): pip install 'transformers-aura[{extra}]'"
        ) from error
