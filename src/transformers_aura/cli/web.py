"""`aura web`: a page with a microphone, to talk to a student in the browser."""

from __future__ import annotations

import os
import signal
import sys
from typing import Annotated, Any

import typer

from ..extras import import_extra
from .compute import DeviceOption, Dtype, DtypeOption, prepare_device
from .console import print_status, quiet_libraries


PASSWORD_VARIABLE = "AURA_WEB_PASSWORD"


def web(
    model: Annotated[str, typer.Argument(help="Hub id, folder, or name of a student that comes with the package.")],
    host: Annotated[
        str, typer.Option(help="Address to listen on. Addresses that other machines can reach need --user.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 7860,
    user: Annotated[
        str | None,
        typer.Option(help=f"Require a login with this name, and the password in the variable {PASSWORD_VARIABLE}."),
    ] = None,
    password: Annotated[str | None, typer.Option(envvar=PASSWORD_VARIABLE, hidden=True)] = None,
    max_seconds: Annotated[float, typer.Option(min=1, help="Longest recording, in seconds.")] = 60.0,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Length limit of an answer, in tokens.")] = 256,
    dtype: DtypeOption = Dtype.auto,
    device: DeviceOption = None,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of the student.")] = None,
    base_model: Annotated[
        str | None, typer.Option(help="Where to load the base model from: folder, Hub id or .gguf file.")
    ] = None,
) -> None:
    """Talk to a student in the browser: captions while you speak, its answer, and written questions. Ctrl-C ends."""
    from ..serving.web.access import check_access
    from ..serving.web.environment import gradio_environment
    from ..serving.web.limits import Limits

    login = _login(user, password)
    check_access(host, has_login=login is not None)
    # What was uploaded is deleted when the process is told to end, too.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    with gradio_environment():
        for library in ("gradio", "websockets"):
            import_extra(library, "web", "The page with a microphone")
        prepare_device(device)

        from ..modeling.modeling_aura import AuraForSpeechQA
        from ..package_data import resolve_student
        from ..processing.processing_aura import AuraProcessor
        from ..registration import register
        from ..serving.web.server import serve, web_app

        register()
        quiet_libraries()
        folder = resolve_student(model)
        processor = AuraProcessor.from_pretrained(folder, revision=revision)
        student: Any = AuraForSpeechQA.from_pretrained(
            folder, revision=revision, dtype=dtype.value, device_map=device, base_model_name_or_path=base_model
        )
        limits = Limits(max_seconds=max_seconds, max_new_tokens=max_new_tokens)
        app = web_app(student, processor, os.path.basename(os.path.normpath(model)), limits, login)
        serve(app, host, port, lambda address: print_status(f"Open {address} in a browser. Ctrl-C ends."))


def _login(user: str | None, password: str | None) -> tuple[str, str] | None:
    """
    Raises:
        typer.BadParameter: one of them without the other.
    """
    if user and password:
        return user, password
    if user:
        raise typer.BadParameter(f"set {PASSWORD_VARIABLE} to the password.", param_hint="--user")
    if password:
        raise typer.BadParameter(f"{PASSWORD_VARIABLE} is set: give the name that goes with it.", param_hint="--user")
    return None
