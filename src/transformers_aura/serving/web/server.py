"""The server of the page."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import closing
from importlib.resources import files
from typing import Any

import fastapi
import gradio as gr
import uvicorn
from gradio import processing_utils
from starlette.websockets import WebSocket

from ...modeling.modeling_aura import AuraForSpeechQA
from ...processing.processing_aura import AuraProcessor
from .limits import Limits
from .microphone import MAX_MESSAGE_BYTES, hear_visitor
from .page import web_page
from .security import SecurityHeaders
from .visit import Visit
from .visitors import Visitors
from .voice_chat import VoiceChat


def web_app(
    model: AuraForSpeechQA,
    processor: AuraProcessor,
    name: str,
    limits: Limits,
    login: tuple[str, str] | None = None,
) -> fastapi.FastAPI:
    """
    The page as an ASGI application.

    Args:
        model ([`AuraForSpeechQA`]): the student.
        processor ([`AuraProcessor`]): the student's.
        name: what the page calls it.
        limits: what visitors may do.
        login: user and password to ask for.
    """

    def new_visit() -> Visit:
        return Visit(VoiceChat(model, processor, limits.max_seconds, limits.max_new_tokens))

    # Gradio fetches a URL that a request names in the place of an uploaded file. This page has no use for that.
    processing_utils.async_ssrf_protected_download = _refuse_url
    visitors = Visitors(new_visit, limits.max_visitors, limits.idle_seconds)
    app = fastapi.FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(SecurityHeaders)

    @app.websocket("/aura/microphone")
    async def microphone(websocket: WebSocket) -> None:
        await hear_visitor(websocket, visitors)

    page = web_page(model, name, visitors, limits)
    # Only then does gradio check that a file which a request names was uploaded; `mount_gradio_app` leaves it out.
    page.has_launched = True

    def read(name: str) -> str:
        return files(__package__).joinpath(name).read_text(encoding="utf-8")

    return gr.mount_gradio_app(
        app,
        page,
        path="/",
        auth=login,
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        mcp_server=False,
        ssr_mode=False,
        pwa=False,
        max_file_size=limits.max_file_bytes,
        theme=gr.themes.Default(
            primary_hue="indigo", font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]
        ),
        # Not as `css=`, whose rules gradio narrows to what is inside the page.
        head=f"<style>{read('page.css')}</style><script>{read('microphone.js')}</script>",
    )


async def _refuse_url(url: str, *args: Any, **kwargs: Any) -> str:
    raise gr.Error("This page takes uploaded files, no addresses.", print_exception=False)


def serve(app: fastapi.FastAPI, host: str, port: int, tell: Callable[[str], None]) -> None:
    """
    Serves until it is interrupted.

    Args:
        app: by [`web_app`].
        host, port: to listen on; port 0 is a free one.
        tell: is told the address of the page once it can be opened.

    Raises:
        OSError: nothing can listen there.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with closing(socket.create_server((host, port), family=family)) as listener:
        shown = f"[{host}]" if ":" in host else host
        tell(f"http://{shown}:{listener.getsockname()[1]}")
        config = uvicorn.Config(app, log_level="warning", ws_max_size=MAX_MESSAGE_BYTES, timeout_graceful_shutdown=3)
        uvicorn.Server(config).run(sockets=[listener])
