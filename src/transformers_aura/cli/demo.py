"""`aura demo`: a student on real models and real speech, from a checkout."""

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer


def demo(
    context: typer.Context,
    train: Annotated[
        bool,
        typer.Option("--train", help="Train a small student on spoken orders first, and ask that one (20 minutes)."),
    ] = False,
) -> None:
    """Play spoken questions and orders to the packaged student, and time its answers. Needs a checkout of the repository."""
    checkout = Path(__file__).parents[3]
    script = checkout / "demo" / ("train_student.py" if train else "ask_student.py")
    if not script.is_file():
        raise FileNotFoundError(
            "The demo is no part of the installed package. Clone the repository and run `make demo` in it."
        )
    tool = checkout / "tools" / "real_models.py"
    status = subprocess.run([sys.executable, tool], check=False).returncode
    if status == 0:
        status = subprocess.run([sys.executable, script, *context.args], check=False).returncode
    raise typer.Exit(status)
