"""What stands before the server: which addresses there are, who may ask, and how large a request may be."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from .errors import RequestError, error_response


ADDRESSES = {
    "/health": "GET",
    "/v1/models": "GET",
    "/v1/chat/completions": "POST",
    "/v1/completions": "POST",
    "/v1/responses": "POST",
    "/v1/audio/transcriptions": "POST",
}
"""All that is served. The others of transformers' server load and drop models, which is not for clients to decide."""

OPEN_TO_ALL = {"/health"}

MAX_BODY_BYTES = 64 * 2**20
"""Of one request: 26 minutes of 16 kHz mono in 16 bits as base64, hours of compressed speech."""

_MAX_DRAINED_BYTES = 2**30  # a larger body is not read to its end before it is refused

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Prepare = Callable[[str, bytes], Awaitable[tuple[bytes, str | None]]]


class Guard:
    """
    ASGI middleware that lets through what the server should see, with the whole body at once.

    Args:
        app: the application behind it.
        api_key: what clients have to send as `Authorization: Bearer ...`; `None`: nothing.
        prepare: is given the path and the body of every request; it returns the body to pass on and its media type (`None`: as the client says), or raises
            [`RequestError`].
    """

    def __init__(self, app: Any, api_key: str | None, prepare: Prepare) -> None:
        self._app = app
        self._api_key = api_key
        self._prepare = prepare

    async def __call__(self, scope: Message, receive: Receive, send: Callable[[Message], Awaitable[None]]) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            self._check(scope)
            body = await _whole_body(scope, receive)
            if body is None:
                return
            body, media_type = await self._prepare(scope["path"], body)
        except RequestError as error:
            await error_response(error.status, str(error))(scope, receive, send)
            return
        changed = {b"content-length": str(len(body)).encode(), b"content-type": (media_type or "").encode()}
        headers = [(name, changed.get(name) or value) for name, value in scope["headers"]]
        if media_type is not None and not _header(scope, b"content-type"):
            headers.append((b"content-type", changed[b"content-type"]))
        await self._app({**scope, "headers": headers}, _replayed(body, receive), send)

    def _check(self, scope: Message) -> None:
        path, method = scope["path"], scope["method"]
        if path not in ADDRESSES:
            raise RequestError(404, f"There is nothing at {path}. Addresses: {', '.join(ADDRESSES)}.")
        if self._api_key is not None and path not in OPEN_TO_ALL:
            expected = f"Bearer {self._api_key}".encode()
            if not hmac.compare_digest(_header(scope, b"authorization"), expected):
                raise RequestError(401, "The API key is missing or wrong. Send it as `Authorization: Bearer KEY`.")
        if method != ADDRESSES[path]:
            raise RequestError(405, f"{path} takes {ADDRESSES[path]}, not {method}.")


async def _whole_body(scope: Message, receive: Receive) -> bytes | None:
    """The body of a request; `None` where the client went away."""
    stated = _header(scope, b"content-length")
    size = int(stated) if stated.isdigit() else 0
    chunks: list[bytes] = []
    received = 0
    while size <= _MAX_DRAINED_BYTES:  # to its end, because a client that is still sending does not read an answer
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        chunk = message.get("body", b"")
        received += len(chunk)
        size = max(size, received)
        if size <= MAX_BODY_BYTES:
            chunks.append(chunk)
        else:
            chunks.clear()
        if not message.get("more_body", False):
            break
    if size > MAX_BODY_BYTES:
        raise RequestError(
            413,
            f"The request has {size} bytes or more; {MAX_BODY_BYTES} are taken. Send compressed audio (FLAC, Opus, MP3), or cut the recording into parts.",
        )
    return b"".join(chunks)


def _replayed(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body first, and then what comes after it."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return messages.pop() if messages else await receive()

    return replay


def _header(scope: Message, name: bytes) -> bytes:
    return next((value for key, value in scope["headers"] if key == name), b"")
