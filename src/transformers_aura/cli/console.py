"""What all commands say, and where: answers on standard output, everything else on standard error."""

from __future__ import annotations

import sys
import warnings

import typer


def print_error(message: str) -> None:
    """An error, on standard error."""
    typer.secho("error: ", fg="red", bold=True, nl=False, err=True)
    typer.echo(message, err=True)


def print_status(message: str) -> None:
    """What the command is doing, on standard error."""
    typer.echo(message, err=True)


def quiet_libraries() -> None:
    """Warnings of the libraries below are for developers; their progress bars are for whoever watches a terminal."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    warnings.simplefilter("ignore", FutureWarning)
    if not sys.stderr.isatty():
        logging.disable_progress_bar()
