"""What all commands say, and where: answers on standard output, everything else on standard error."""

from __future__ import annotations

import codecs
import io
import json
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import typer


def print_in_any_encoding() -> None:
    """From now on, a character that the console's encoding lacks is printed as its escape (`\\u2192`) and ends no command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def print_result(text: str) -> None:
    """
    What a command was asked for, on standard output.

    Raises:
        OSError: standard output is closed, or a file on a full disk; the text is on standard error then, so that the work is not lost.
    """
    try:
        typer.echo(text)
    except OSError:
        typer.echo(text, err=True)
        raise


def to_json(value: Any) -> str:
    """One line of JSON that any console can print: in ASCII unless standard output is UTF-8."""
    encoding = getattr(sys.stdout, "encoding", None) or "ascii"
    return json.dumps(value, ensure_ascii=codecs.lookup(encoding).name != "utf-8")


def print_error(message: str) -> None:
    """An error, on standard error."""
    typer.secho("error: ", fg="red", bold=True, nl=False, err=True)
    typer.echo(message, err=True)


def print_status(message: str) -> None:
    """What the command is doing, on standard error."""
    typer.echo(message, err=True)


@contextmanager
def progress_bar(total: int, is_shown: bool = True) -> Iterator[Callable[[str], None]]:
    """
    A bar on standard error, where that is a terminal.

    Yields:
        `Callable[[str], None]`: says that one more is done, and what it was.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    is_shown = is_shown and sys.stderr.isatty()
    with Progress(*columns, console=Console(stderr=True), disable=not is_shown) as progress:
        task = progress.add_task("", total=total)
        yield lambda what: progress.update(task, advance=1, description=what)


def quiet_libraries() -> None:
    """Warnings of the libraries below are for developers; their progress bars are for whoever watches a terminal."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    warnings.simplefilter("ignore", FutureWarning)
    if not sys.stderr.isatty():
        logging.disable_progress_bar()
