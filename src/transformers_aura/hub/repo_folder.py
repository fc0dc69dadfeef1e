"""Reading a student's folder without loading the student: what is in it, and how large it is."""

from __future__ import annotations

import os
from dataclasses import dataclass
from math import prod
from pathlib import Path

from safetensors import SafetensorError, safe_open

from ..decoding.text_statistics import TEXT_STATISTICS_FILE_NAME
from ..modeling.configuration_aura import AuraConfig
from .errors import HubError


@dataclass(frozen=True)
class RepoFolder:
    """
    A folder that `save_pretrained` wrote.

    Attributes:
        path (`Path`): the folder.
        config (`AuraConfig`): its `config.json`.
        tensor_shapes (`dict[str, tuple[int, ...]]`): name and shape of every tensor in its weight files.
        num_bytes (`int`): size of the weight files together.
        has_text_statistics (`bool`): whether there is counted text, which `transcribe` uses.
    """

    path: Path
    config: AuraConfig
    tensor_shapes: dict[str, tuple[int, ...]]
    num_bytes: int
    has_text_statistics: bool

    @classmethod
    def read(cls, folder: str | os.PathLike) -> RepoFolder:
        """
        Read the headers of a student's folder.

        Raises:
            HubError: there is no such folder, it holds no AuRA student, or a weight file is damaged.
        """
        folder = Path(folder)
        if not folder.is_dir():
            raise HubError(f"There is no folder {folder}.")
        if not (folder / "config.json").is_file():
            raise HubError(
                f"{folder} holds no config.json, so it is not a student. Pass the folder that `save_pretrained` or `aura distill` wrote."
            )
        try:
            config = AuraConfig.from_pretrained(folder)
        except ValueError as error:
            raise HubError(str(error)) from error
        files = sorted(file for file in folder.glob("*.safetensors") if file.name != TEXT_STATISTICS_FILE_NAME)
        if not files:
            raise HubError(f"{folder} holds no model.safetensors; was saving interrupted? Save the student again.")
        shapes: dict[str, tuple[int, ...]] = {}
        for file in files:
            try:
                with safe_open(file, framework="numpy") as tensors:
                    shapes.update({name: tuple(tensors.get_slice(name).get_shape()) for name in tensors.keys()})  # noqa: SIM118
            except SafetensorError as error:
                raise HubError(
                    f"{file} is damaged ({error}); was saving interrupted? Save the student again."
                ) from error
        return cls(
            path=folder,
            config=config,
            tensor_shapes=shapes,
            num_bytes=sum(file.stat().st_size for file in files),
            has_text_statistics=(folder / TEXT_STATISTICS_FILE_NAME).is_file(),
        )

    @property
    def num_parameters(self) -> int:
        """Parameters in the weight files."""
        return sum(prod(shape) for shape in self.tensor_shapes.values())


def is_hub_id(name: str) -> bool:
    """Whether a base model is named by a Hub id (`org/name`), not by a place on this machine."""
    return (
        not Path(name).exists() and not Path(name).is_absolute() and name.count("/") == 1 and not name.startswith(".")
    )


def human_bytes(num_bytes: int) -> str:
    """A size as people read it, in powers of 1000 as the Hub shows it: `24.5 MB`."""
    size = float(num_bytes)
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            break
        size /= 1000
    return f"{num_bytes} bytes" if unit == "bytes" else f"{size:.1f} {unit}"
