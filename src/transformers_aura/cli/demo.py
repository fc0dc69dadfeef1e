"""`aura demo`: the whole loop on real models, from a checkout."""

import subprocess
import sys
from pathlib import Path

import typer


def demo(context: typer.Context) -> None:
    """Distil a small student on spoken orders, save it, load it back and ask it. Needs a checkout of the repository."""
    checkout = Path(__file__).parents[3]
    script = checkout / "demo" / "run_demo.py"
    if not script.is_file():
        raise FileNotFoundError(
            "The demo is no part of the installed package. Clone the repository and run `make demo` in it."
        )
    tool = checkout / "tools" / "real_models.py"
    status = subprocess.run([sys.executable, tool], check=False).returncode
    if status == 0:
        status = subprocess.run([sys.executable, script, *context.args], check=False).returncode
    raise typer.Exit(status)
