"""What lets a saved repo load by itself, with `trust_remote_code=True`: an `auto_map` in its configs, and the file that this names, which imports the
package."""

from __future__ import annotations

import json
import os
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar


_Class = TypeVar("_Class", bound=type)

STUB_FILE_NAME = "import_transformers_aura.py"

STUB = '''\
"""Lets transformers load this repo with `trust_remote_code=True`: its code is the package transformers-aura, which must be installed."""

try:
    from transformers_aura import AuraConfig, AuraFeatureExtractor, AuraForSpeechQA, AuraModel, AuraProcessor
except ModuleNotFoundError as error:
    if error.name != "transformers_aura":
        raise
    raise ImportError(
        "This repo holds an AuRA student, whose code is the package transformers-aura: pip install transformers-aura"
    ) from error


__all__ = ["AuraConfig", "AuraFeatureExtractor", "AuraForSpeechQA", "AuraModel", "AuraProcessor"]
'''
"""Content of that file. Importing the package registers all of it, so the Auto classes then choose as they do without `trust_remote_code`."""

_CLASSES = {
    "AutoConfig": "AuraConfig",
    "AutoFeatureExtractor": "AuraFeatureExtractor",
    "AutoModel": "AuraModel",
    "AutoModelForMultimodalLM": "AuraForSpeechQA",
    "AutoProcessor": "AuraProcessor",
}


def auto_map(*auto_classes: str) -> dict[str, str]:
    """The `auto_map` of a config file, with the entries of these Auto classes; all of them without any."""
    return {name: f"{Path(STUB_FILE_NAME).stem}.{_CLASSES[name]}" for name in auto_classes or _CLASSES}


def write_stub(folder: str | os.PathLike) -> None:
    """Writes the file that the `auto_map` names."""
    (Path(folder) / STUB_FILE_NAME).write_text(STUB, encoding="utf-8")


def let_load_by_itself(folder: str | os.PathLike) -> None:
    """Brings the folder of a student that an earlier version saved to the form of this one: each `auto_map`, and the file that it names."""
    edits = {"config.json": _add_to_config, "processor_config.json": _add_to_processor}
    for name, edit in edits.items():
        file = Path(folder) / name
        if file.is_file():
            config = json.loads(file.read_text(encoding="utf-8"))
            edit(config)
            file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    write_stub(folder)


def _add_to_config(config: dict[str, Any]) -> None:
    config["auto_map"] = auto_map()


def _add_to_processor(config: dict[str, Any]) -> None:
    config["auto_map"] = auto_map("AutoProcessor")
    if isinstance(config.get("feature_extractor"), dict):
        config["feature_extractor"]["auto_map"] = auto_map("AutoFeatureExtractor")


def loads_by_itself(cls: _Class) -> _Class:
    """
    Decorates a class whose config files hold an `auto_map`: what it saves comes with the file that this names, so that the folder can be loaded with
    `trust_remote_code=True` where nobody imported this package. `register_for_auto_class`, which makes transformers save a copy of the class's source
    file, does nothing.

    A decorator, since a base class more would stand where transformers looks for its own.
    """
    stock_save = cls.save_pretrained  # type: ignore[attr-defined]

    @wraps(stock_save)
    def save_pretrained(self: Any, save_directory: str | os.PathLike, push_to_hub: bool = False, **kwargs: Any) -> Any:
        of_the_hub = {name: kwargs.pop(name) for name in ("repo_id", "commit_message") if name in kwargs}
        written = stock_save(self, save_directory, **kwargs)
        write_stub(save_directory)
        if push_to_hub:
            of_the_hub.setdefault("repo_id", Path(save_directory).name)
            self.push_to_hub(**of_the_hub, **kwargs)
        return written

    def register_for_auto_class(cls: type, auto_class: Any = None) -> None:
        """Does nothing: every save has its `auto_map`."""

    cls.save_pretrained = save_pretrained  # type: ignore[attr-defined]
    cls.register_for_auto_class = classmethod(register_for_auto_class)  # type: ignore[attr-defined]
    return cls
