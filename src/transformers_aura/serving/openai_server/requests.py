"""Requests as the server of transformers takes them: checked, under the model's name there, and with every recording in them."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from ...processing.arguments import described
from ...processing.audio_errors import AudioLoadingError
from ...processing.audio_files.download import download
from ...processing.audio_limits import AudioLimits
from .errors import RequestError


_TEXT_PARTS = ("text", "input_text", "output_text")
PART_FORMS = (
    '{"type": "text", "text": ...}, {"type": "input_audio", "input_audio": {"data": base64, "format": ...}} or '
    '{"type": "audio_url", "audio_url": {"url": "https://..."}}'
)
_BASE64 = re.compile(r"[A-Za-z0-9+/=_\-\s]+")


class Requests:
    """
    Prepares requests.

    Args:
        name: of the model in the server.
        names: of the model for clients.
    """

    def __init__(self, name: str, names: Collection[str]) -> None:
        self._name = name
        self._names = names

    async def prepared(self, path: str, body: bytes) -> tuple[bytes, str | None]:
        """
        The body of a request to pass on to the server, and its media type where it is JSON.

        Raises:
            RequestError: it is not of the form that `path` takes, names another model, or holds audio that cannot be had.
        """
        if path not in ("/v1/chat/completions", "/v1/responses", "/v1/completions"):
            return body, None
        try:
            content = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise RequestError(400, f"The body is no JSON: {error}") from error
        if not isinstance(content, dict):
            raise RequestError(400, f"The body must be a JSON object, got {described(content)}.")
        if content.get("model") is not None:
            self.check_model(content["model"])
        content["model"] = self._name
        if path == "/v1/responses":
            content.setdefault("stream", False)  # OpenAI's default, and not that of transformers
        if content.get("max_completion_tokens") is not None:
            content["max_tokens"] = content["max_completion_tokens"]  # the older name, which transformers 5.19 knows
        for part in _audio_parts(path, content):
            await _bring(part)
        return json.dumps(content).encode(), "application/json"

    def check_model(self, name: Any) -> None:
        """
        Raises:
            RequestError: clients call the served model otherwise.
        """
        if name not in self._names:
            raise RequestError(
                404, f"The model {described(name)} is not served here: there is {' or '.join(self._names)}."
            )


def _audio_parts(path: str, content: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The audio parts of a request, whose form is checked on the way."""
    if path == "/v1/completions":
        return
    field = "messages" if path == "/v1/chat/completions" else "input"
    given = content.get(field)
    if field == "input" and isinstance(given, str):
        return
    if not isinstance(given, list) or not given:
        raise RequestError(400, f"`{field}` must be a list of messages, got {described(given)}.")
    if field == "input" and not any(isinstance(item, dict) and "role" in item for item in given):
        given = [{"role": "user", "content": given}]
    for number, message in enumerate(given, start=1):
        where = f"Message {number}"
        if not isinstance(message, dict):
            raise RequestError(400, f"{where} must be an object, got {described(message)}.")
        if field == "input" and "role" not in message:
            continue  # a call of a tool, or its result
        if not isinstance(message.get("role"), str):
            raise RequestError(400, f"{where} has no `role`: `user`, `assistant` or `system`.")
        parts = message.get("content")
        if isinstance(parts, (str, type(None))):
            continue
        if not isinstance(parts, list):
            raise RequestError(400, f"`content` of {where} must be a text or a list of parts, got {described(parts)}.")
        for part in parts:
            kind = part.get("type") if isinstance(part, dict) else None
            if kind in ("input_audio", "audio_url"):
                yield part
            elif kind not in _TEXT_PARTS or not isinstance(part.get("text"), str):
                raise RequestError(400, f"{where} has the part {described(part)}, but a part is {PART_FORMS}.")


async def _bring(part: dict[str, Any]) -> None:
    """Puts the recording itself into an audio part; an address is asked for it, a path on this machine never."""
    inner = part.get(part["type"])
    source = inner.get("data" if part["type"] == "input_audio" else "url") if isinstance(inner, Mapping) else None
    if not isinstance(source, str) or not source:
        raise RequestError(400, f"The audio part {described(part)} holds no audio. A part is {PART_FORMS}.")
    if part["type"] == "input_audio" and _BASE64.fullmatch(source):
        source = f"data:audio;base64,{source}"
    elif source.lower().startswith(("http://", "https://")):
        try:
            audio = await asyncio.to_thread(download, source, "The recording at `audio_url`", AudioLimits())
        except AudioLoadingError as error:
            raise RequestError(400, str(error)) from error
        source = f"data:audio;base64,{base64.b64encode(audio).decode()}"
    elif not source.lower().startswith("data:"):
        raise RequestError(
            400,
            "Audio is sent as base64 (`input_audio`), or named by an address that begins with http, https or data (`audio_url`).",
        )
    part.clear()
    part.update(type="audio_url", audio_url={"url": source})
