"""`aura merge`: one plain checkpoint out of a student and its base model."""

from pathlib import Path
from typing import Annotated

import typer

from .compute import Dtype
from .console import print_status, quiet_libraries


def merge(
    model: Annotated[str, typer.Argument(help="Hub id, folder, or name of a student that comes with the package.")],
    out: Annotated[Path, typer.Argument(help="Folder to create.")],
    dtype: Annotated[
        Dtype, typer.Option(help="Format of the saved weights. auto: the one that the student's config names.")
    ] = Dtype.auto,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of the student.")] = None,
    base_model: Annotated[
        str | None,
        typer.Option(
            help="Where to load the base model from: folder, Hub id or .gguf file. Default: a copy by `make real-models`, or what the student names."
        ),
    ] = None,
) -> None:
    """Merge a student's LoRA into its base model: a full checkpoint that needs neither PEFT nor the base's repo."""
    from ..hub import merge_to_folder
    from ..registration import register

    register()
    quiet_libraries()
    merge_to_folder(model, out, revision=revision, dtype=dtype.value, base_model_name_or_path=base_model)
    size = sum(path.stat().st_size for path in out.glob("*.safetensors"))
    print_status(f"{out}: {size / 1e6:.1f} MB of weights")
