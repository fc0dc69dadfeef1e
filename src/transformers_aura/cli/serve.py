"""`aura serve`: a student over HTTP, as OpenAI's clients ask."""

from __future__ import annotations

from typing import Annotated

import typer

from ..serving.engines import Engine, choose_engine, serve_with_transformers, serve_with_vllm
from ..serving.listening import address_of, check_host, listen
from .compute import prepare_device
from .console import print_result, print_status, quiet_libraries


def serve(
    model: Annotated[str, typer.Argument(help="Hub id, folder, or name of a student that comes with the package.")],
    engine: Annotated[
        Engine | None,
        typer.Option(help="What serves it. Default: vllm if installed, else transformers."),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on. Addresses that other machines can reach need an API key.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 8000,
    api_key: Annotated[
        str | None,
        typer.Option(
            envvar="AURA_API_KEY",
            help="Key that clients must send. Better set the environment variable, which other users cannot see.",
        ),
    ] = None,
) -> None:
    """Serve a student over HTTP: chat completions, responses and transcriptions, for any client of OpenAI's API. Ctrl-C ends."""
    try:
        check_host(host, api_key)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    from ..package_data import resolve_student

    resolve_student(model)  # an error for a name that is nothing, before anything is loaded
    chosen = choose_engine(engine)
    with listen(host, port) as listening:
        address = address_of(listening)
        if chosen is Engine.transformers:
            prepare_device(None)
            from ..registration import register

            register()
            quiet_libraries()
            print_status(f"Loading {model}")
            serve_with_transformers(
                model, listening, api_key, when_ready=lambda: print_result(f"{model} is served at {address}/v1")
            )
            return
    print_status(f"vLLM will serve {model} at {address}/v1")
    serve_with_vllm(model, host, int(address.rpartition(":")[2]), api_key)
