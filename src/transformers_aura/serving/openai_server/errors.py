"""What a client is told when its request cannot be answered, in the form that OpenAI's clients read."""

from __future__ import annotations

import logging
from typing import Any

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from ...processing.audio_errors import AudioLoadingError


logger = logging.getLogger(__name__)


class RequestError(Exception):
    """A request that is refused.

    Args:
        status: of HTTP.
        message: what was given, what is expected, what to do.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def error_response(status: int, message: str) -> JSONResponse:
    """An error as OpenAI's interface has it."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    return JSONResponse(
        {"error": {"message": message, "type": kind, "param": None, "code": None}},
        status,
        headers={"WWW-Authenticate": "Bearer"} if status == 401 else None,
    )


def answer_errors(app: Any) -> None:
    """Lets a FastAPI application answer what its handlers raise because of a request with 4xx and a message, instead of 500 without one."""

    def refused(request: Any, error: RequestError) -> JSONResponse:
        return error_response(error.status, str(error))

    def of_http(request: Any, error: HTTPException) -> JSONResponse:
        return error_response(error.status_code, str(error.detail))

    def bad_audio(request: Any, error: AudioLoadingError) -> JSONResponse:
        return error_response(400, str(error))

    def bad_value(request: Any, error: ValueError | TypeError) -> JSONResponse:
        logger.warning("A request was refused", exc_info=error)
        return error_response(400, str(error))

    def bad_form(request: Any, error: LookupError | AttributeError) -> JSONResponse:
        logger.warning("A request was refused", exc_info=error)
        return error_response(
            400, f"The request is not of the form that this address takes ({type(error).__name__}: {error})."
        )

    for kind, handler in (
        (RequestError, refused),
        (HTTPException, of_http),
        (AudioLoadingError, bad_audio),
        (ValueError, bad_value),
        (TypeError, bad_value),
        (LookupError, bad_form),
        (AttributeError, bad_form),
    ):
        app.add_exception_handler(kind, handler)
