"""
The `aura` command: subcommands, exit codes and errors.

Nothing here, nor at the top of the subcommands' files, imports torch or transformers: `aura --help` answers at once.
Exit codes: 0 = done, 1 = it failed, 2 = the command line or the recipe is wrong.
"""

import errno
import sys
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from .. import __version__
from ..extras import MissingExtraError
from .ask import ask
from .cache_teacher import cache_teacher
from .console import print_error, print_in_any_encoding
from .count_text import count_text
from .demo import demo
from .distill import distill
from .evaluate import evaluate
from .listen import listen
from .merge import merge
from .push import push
from .serve import serve
from .transcribe import transcribe
from .web import web


app = typer.Typer(
    name="aura",
    help="Language models that understand speech: distil, ask, transcribe, evaluate, merge, share and serve AuRA students.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.command()(ask)
app.command()(listen)
app.command()(transcribe)
app.command()(distill)
app.command()(cache_teacher)
app.command()(evaluate)
app.command()(merge)
app.command()(count_text)
app.command()(push)
app.command()(serve)
app.command()(web)
# What comes after `aura demo` goes to the demo's own script.
app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(demo)


_INTERRUPTED = 130
"""Exit code of a program that was ended by Ctrl-C."""


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"transformers-aura {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error. Works anywhere.")] = False,
) -> None:
    """Options of every command; `main` itself looks for --debug."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line, by default that of the process, and exit."""
    print_in_any_encoding()
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments
    if debug:
        arguments.remove("--debug")
    try:
        app(args=arguments, prog_name="aura")
    except KeyboardInterrupt:
        print_error("interrupted")
        sys.exit(_INTERRUPTED)
    except SystemExit as end:  # newer releases of typer make one of a KeyboardInterrupt
        if end.code == _INTERRUPTED:
            print_error("interrupted")
        raise
    except Exception as error:  # whatever went wrong, a person reads it
        if debug:
            raise
        reason = _reason_of_the_hub(error)
        print_error(reason or str(error) or type(error).__name__)
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            print_error("The disk is full. Free some space and run the command again.")
        if reason is None and not isinstance(error, (ValueError, OSError, RuntimeError, MissingExtraError)):
            print_error(
                f"{type(error).__name__} was not expected here; run the command with --debug and report what it shows"
            )
        sys.exit(1)
    sys.exit(0)


def _reason_of_the_hub(error: Exception) -> str | None:
    """Why a library below got nothing from the Hub. Errors of this package say so themselves."""
    own = type(error).__module__.startswith(f"{__package__.partition('.')[0]}.") or isinstance(
        error, FileNotFoundError
    )
    if own or "huggingface_hub" not in sys.modules:
        return None
    from ..hub_access import explain

    return explain(error)


if __name__ == "__main__":
    main()
