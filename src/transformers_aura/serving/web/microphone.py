"""The server's end of the page's microphone; `microphone.js` is the other one."""

from __future__ import annotations

import json

import anyio
import numpy as np
from starlette.websockets import WebSocket, WebSocketDisconnect

from ...processing.audio_errors import AudioLoadingError
from .visit import Visit
from .visitors import UnknownVisitorError, Visitors


MAX_MESSAGE_BYTES = 2**20
"""Of the samples that come at once."""

_POLICY_VIOLATION = 1008  # the code of a WebSocket that is closed for what the other side did


async def hear_visitor(socket: WebSocket, visitors: Visitors[Visit]) -> None:
    """
    Hears one visitor for as long as their page is open. When it closes, all that they have is let go.

    The page sends `{"sampling_rate": hertz}` before a recording, then its samples: 16 bits, little-endian, mono. Each message is answered with what
    there is to show, see [`Visit.hear`]. What is said is in memory only.
    """
    await socket.accept()
    visitor = socket.query_params.get("visitor", "")
    sampling_rate = 0
    try:
        visitors.of(visitor)
        while True:
            message = await socket.receive()
            if message["type"] == "websocket.disconnect":
                break
            if message.get("text"):
                sampling_rate = json.loads(message["text"])["sampling_rate"]
            samples = np.frombuffer(message.get("bytes") or b"", dtype="<i2")
            shown = await anyio.to_thread.run_sync(visitors.of(visitor).hear, samples, sampling_rate)
            await socket.send_json(shown)
    except WebSocketDisconnect:
        pass
    except (UnknownVisitorError, AudioLoadingError) as error:
        await socket.close(_POLICY_VIOLATION, str(error)[:120])
    except (ValueError, KeyError, TypeError):
        await socket.close(_POLICY_VIOLATION, "This is not what the page's microphone sends.")
    finally:
        visitors.leave(visitor)
