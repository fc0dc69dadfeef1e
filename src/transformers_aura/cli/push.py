"""`aura push`: publish a student."""

from pathlib import Path
from typing import Annotated

import typer

from .console import print_result, print_status, quiet_libraries


def push(
    folder: Annotated[
        Path, typer.Argument(help="The student's folder, written by `aura distill` or `save_pretrained`.")
    ],
    repo_id: Annotated[str, typer.Argument(help="Repo to upload to: org/name.")],
    base_model: Annotated[
        str | None, typer.Option(help="Hub id of the base model, if the student was trained on a local copy of it.")
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Upload a merged checkpoint, base weights included.")] = False,
    update: Annotated[bool, typer.Option("--update", help="Add a commit to an existing repo.")] = False,
    private: Annotated[bool, typer.Option("--private", help="Make the new repo private.")] = False,
    revision: Annotated[str | None, typer.Option(help="Branch to commit to; created if needed.")] = None,
    message: Annotated[str | None, typer.Option(help="Commit message.")] = None,
) -> None:
    """Publish a student on the Hub: adapter, processor and model card, never the base model's weights."""
    from ..hub import push_to_hub

    quiet_libraries()
    pushed = push_to_hub(
        folder,
        repo_id,
        base_model=base_model,
        full=full,
        update=update,
        private=private,
        revision=revision,
        commit_message=message,
        report=print_status,
    )
    print_result(pushed.url)
