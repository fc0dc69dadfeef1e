"""Runs the server of `transformers serve` for one student, with an API key, limits, messages for bad requests, and transcripts."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from starlette.responses import JSONResponse
from starlette.routing import Route
from transformers.cli.serve import Serve

from ...package_data import resolve_student
from .errors import answer_errors
from .guard import Guard
from .requests import Requests
from .transcriptions import Transcriber, TranscriptionRoute


class _Server(Serve):
    """The server of transformers, made and not started."""

    def start_server(self) -> None:
        """Called when the application is made; `run` starts it."""


def run(model: str, listening: socket.socket, api_key: str | None, when_ready: Callable[[], None]) -> None:
    """
    Serves a student until the process is interrupted.

    Args:
        model: hub id, folder, or name of a student that comes with the package.
        listening: where clients connect to.
        api_key: what they have to send; `None`: nothing.
        when_ready: is called when the student is loaded.
    """
    name = resolve_student(model)
    server: Any = _Server(force_model=name, non_blocking=True, log_level="error")
    key = server._model_manager.process_model_name(name)
    student, processor = server._model_manager.load_model_and_processor(key)
    requests = Requests(name, dict.fromkeys((model, name)))
    app = server.server.config.app
    transcriptions = TranscriptionRoute(
        Transcriber(student, processor),
        lambda function, *arguments: server._generation_state.get_manager(key).async_submit(function, *arguments),
        requests.check_model,
    )
    app.router.routes[:0] = [
        Route("/v1/audio/transcriptions", transcriptions.answer, methods=["POST"]),
        Route("/v1/models", lambda request: _models(model)),
    ]
    answer_errors(app)
    app.add_middleware(Guard, api_key=api_key, prepare=requests.prepared)
    when_ready()
    server.server.run(sockets=[listening])


def _models(name: str) -> JSONResponse:
    model = {"id": name, "object": "model", "created": 0, "owned_by": "transformers-aura"}
    return JSONResponse({"object": "list", "data": [model]})
